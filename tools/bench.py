"""What waiting for dbt Cloud costs, with this provider and the official one side by side.

Both run on this machine against the emulator, which is a process of its own and speaks https. What is
measured is in five parts: waits in one event loop (a triggerer's), sensors in a real Airflow, imports, the
looks that runs of some lengths take in virtual time, and a dlt load, which is set beside dlt's own helper.

    make bench                                                           # everything, in about an hour
    make bench BENCH_ARGS='--parts waits --sizes 10,100 --repeats 1'     # a taste
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import bench_airflow
import bench_cadence
import bench_imports
import bench_loads
import bench_waits
from bench_report import Section, markdown, table
from processes import exit_on_signals
from rich.console import Console

ValueT = TypeVar("ValueT")

PARTS = ("waits", "airflow", "imports", "cadence", "loads")


def measure(options: argparse.Namespace, say: Callable[[str], object]) -> Iterable[Section]:
    """Measure the parts that were asked for, and give each table as soon as there is one."""
    for part in options.parts:
        say(f"{part} …")
        match part:
            case "waits":
                plan = bench_waits.Plan(options.sizes, options.latency, options.repeats, options.official_max)
                found = bench_waits.measure(plan, say)
                if options.picture:
                    from bench_picture import draw  # matplotlib is needed for nothing else

                    draw(bench_waits.panels(found), options.picture)
                yield from bench_waits.sections(plan, found)
                yield bench_waits.memory_section(plan, say)
            case "airflow":
                yield bench_airflow.section(options.sensors, options.repeats, say)
            case "imports":
                yield bench_imports.section(options.interpreters)
            case "cadence":
                yield bench_cadence.section()
            case "loads":
                yield bench_loads.section(options.interpreters, options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parts", type=_parts, default=PARTS, help=f"only these, with commas: {', '.join(PARTS)}")
    add("--repeats", type=_count, default=3, help="of waits and of DAG runs (default: %(default)s)")
    add("--sizes", type=_list_of(_count), default=[10, 100, 1000, 10000], help="how many runs are waited for")
    add("--latency", type=_list_of(float), default=[0.0, 0.3], help="seconds that the API takes longer")
    add("--official-max", type=int, default=1000, help="the most runs for the official provider's triggers")
    add("--sensors", type=_count, default=200, help="of a DAG in the real Airflow (default: %(default)s)")
    add("--interpreters", type=_count, default=15, help="that import each provider (default: %(default)s)")
    add("--markdown", type=Path, metavar="FILE", help="write the tables to a file as well")
    add("--picture", type=Path, metavar="FILE", help="draw the waits: an SVG or PNG file")
    options = parser.parse_args()
    exit_on_signals()
    console = Console()
    sections = []
    for section in measure(options, lambda line: console.print(line, highlight=False, soft_wrap=True)):
        sections.append(section)
        console.print(table(section))
        if options.markdown:
            options.markdown.write_text(markdown(sections))


def _list_of(read: Callable[[str], ValueT]) -> Callable[[str], list[ValueT]]:
    """What reads values with commas between them."""
    return lambda text: [read(one) for one in text.split(",")]


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        raise argparse.ArgumentTypeError(
            f"there is no part {', '.join(unknown)}; there are: {', '.join(PARTS)}"
        )
    return parts


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{count} is too few")
    return count


if __name__ == "__main__":
    main()
