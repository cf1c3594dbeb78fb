import subprocess
import sys
from pathlib import Path

import pytest

_RUN = Path(__file__).with_name("run.py")
_EMBEDDED = (
    "durable requests, 32 in flight",
    "durable requests, one at a time",
    "small chunks, 1 stream",
    "small chunks, 8 streams",
    "idle event stream",
    "event lag",
    "takeover after kill -9",
    "stream time with a webhook",
    "memory a parked task",
    "GetTask of",
    "memory over",
    "registry search",
)


_CLUSTER = (
    "durable requests, 32 in flight",
    "durable requests, one at a time",
    "event lag to a stream on another replica",
    "takeover after kill -9",
    "idle subscriber",
    "time of 40 readers beside 10 that do not read",
    "small chunks, 20 streams, 4 workers",
    "PostgreSQL's CPU a queued task",
    "a light tenant's first task",
    "shares of two tenants",
    "calls begun under a quota",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("profile", "figures"), [((), _EMBEDDED), (("--cluster",), _CLUSTER)], ids=["embedded", "cluster"]
)
def test_every_figure_of_the_bench_can_still_be_measured(
    profile: tuple[str, ...], figures: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, _RUN, "--quick", *profile], capture_output=True, text=True, timeout=880
    )
    assert done.returncode == 0, done.stderr
    for figure in figures:
        assert f"\n{figure}" in done.stdout
