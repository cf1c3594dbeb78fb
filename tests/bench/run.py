"""`make bench` and `make bench-cluster`: measure every figure, Parley against the a2a-sdk, and write the document.

python tests/bench/run.py                      all figures of the embedded profile, and docs/benchmarks.md
python tests/bench/run.py --cluster            all of the cluster profile, and docs/benchmarks-cluster.md
python tests/bench/run.py --quick              a small run of all, to see that they work; writes nothing
python tests/bench/run.py throughput idle      these figures; writes nothing
"""

import argparse
import asyncio
import contextlib
import os
import platform
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import uvloop
from quiet import Others
from scale import FULL, QUICK, Scale
from table import Row, markdown, plain, write

_ROOT = Path(__file__).parents[2]
sys.path.append(str(_ROOT / "deploy"))

import cluster  # noqa: E402
import figures  # noqa: E402
from cluster.postgres import Postgres  # noqa: E402

from engines.postgres import Postgres as Engine  # noqa: E402

Measures = Mapping[str, Callable[[Scale], Awaitable[list[Row]]]]

_BUFFERS = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
"""What whoever runs a PostgreSQL of this size sets first; the rest is as it comes."""


def main() -> int:
    """Exit status: 0 when every figure could be measured, whether or not it met its goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", metavar="figure")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    known = list(cluster.FIGURES if given.cluster else figures.FIGURES)
    unknown = [name for name in given.figures if name not in known]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; choose from {', '.join(known)}")
    begun, others = time.monotonic(), Others()
    wanted, scale = given.figures or known, QUICK if given.quick else FULL
    rows, failed, store = uvloop.run(_measure(_on_postgres if given.cluster else _on_sqlite, wanted, scale))
    took = time.monotonic() - begun
    machine = f"{_machine(store)}; other work took {others.percent:.0f} % of the processors meanwhile"
    print(f"\n{plain(rows)}\n\n{machine}, {took:.0f} s")
    if not given.quick and not given.figures and not failed:
        document = _ROOT / "docs" / ("benchmarks-cluster.md" if given.cluster else "benchmarks.md")
        write(document, f"{markdown(rows)}\n\n{machine}. The whole run took {took / 60:.0f} minutes.")
    return 1 if failed else 0


async def _measure(
    suite: Callable[[], contextlib.AbstractAsyncContextManager[tuple[Measures, str]]],
    names: list[str],
    scale: Scale,
) -> tuple[list[Row], bool, str]:
    rows: list[Row] = []
    failed = False
    async with suite() as (measures, store):
        for name in names:
            begun, others = time.monotonic(), Others()
            try:
                rows += (found := await measures[name](scale))
            except Exception as error:
                failed = True
                print(f"{name}: could not be measured: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            took = time.monotonic() - begun
            print(f"\n{name}: {took:.0f} s, other work {others.percent:.0f} %\n{plain(found)}", flush=True)
            await asyncio.sleep(0.5)
    return rows, failed, store


@contextlib.asynccontextmanager
async def _on_sqlite() -> AsyncIterator[tuple[Measures, str]]:
    yield figures.FIGURES, f"SQLite {sqlite3.sqlite_version}"


@contextlib.asynccontextmanager
async def _on_postgres() -> AsyncIterator[tuple[Measures, str]]:
    server = await asyncio.to_thread(Engine(settings=_BUFFERS).__enter__)
    try:
        postgres = await Postgres.at(server.dsn)
        measures = {name: partial(measure, postgres=postgres) for name, measure in cluster.FIGURES.items()}
        yield measures, f"PostgreSQL {postgres.version}"
    finally:
        await asyncio.to_thread(server.close)


def _machine(store: str) -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"a2a-sdk {version('a2a-sdk')}, {store}"
    )


if __name__ == "__main__":
    sys.exit(main())
