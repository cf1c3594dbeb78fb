"""`make bench`: measures every figure, Parley against the a2a-sdk's own server, and writes docs/benchmarks.md.

python tests/bench/run.py                    all figures, and the document
python tests/bench/run.py --quick            a small run of all, to see that they work; writes nothing
python tests/bench/run.py throughput idle    these figures; writes nothing
"""

import argparse
import asyncio
import os
import platform
import sqlite3
import sys
import time
from importlib.metadata import version
from pathlib import Path

import uvloop
from figures import FIGURES
from quiet import Others
from scale import FULL, QUICK, Scale
from table import Row, markdown, plain, write

_DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main() -> int:
    """Exit status: 0 when every figure could be measured, whether or not it met its goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    unknown = [name for name in given.figures if name not in FIGURES]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; choose from {', '.join(FIGURES)}")
    begun, others = time.monotonic(), Others()
    rows, failed = uvloop.run(_measure(given.figures or list(FIGURES), QUICK if given.quick else FULL))
    took = time.monotonic() - begun
    machine = f"{_machine()}; other work took {others.percent:.0f} % of the processors meanwhile"
    print(f"\n{plain(rows)}\n\n{machine}, {took:.0f} s")
    if not given.quick and not given.figures and not failed:
        write(_DOCUMENT, f"{markdown(rows)}\n\n{machine}. The whole run took {took / 60:.0f} minutes.")
    return 1 if failed else 0


async def _measure(names: list[str], scale: Scale) -> tuple[list[Row], bool]:
    rows: list[Row] = []
    failed = False
    for name in names:
        begun, others = time.monotonic(), Others()
        try:
            rows += (found := await FIGURES[name](scale))
        except Exception as error:
            failed = True
            print(f"{name}: could not be measured: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        took = time.monotonic() - begun
        print(f"\n{name}: {took:.0f} s, other work {others.percent:.0f} %\n{plain(found)}", flush=True)
        await asyncio.sleep(0.5)
    return rows, failed


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"a2a-sdk {version('a2a-sdk')}, SQLite {sqlite3.sqlite_version}"
    )


if __name__ == "__main__":
    sys.exit(main())
