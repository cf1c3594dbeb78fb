import subprocess
import sys
from pathlib import Path

import pytest

_RUN = Path(__file__).with_name("run.py")
_FIGURES = (
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_figure_of_the_bench_can_still_be_measured() -> None:
    done = subprocess.run([sys.executable, _RUN, "--quick"], capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stderr
    for figure in _FIGURES:
        assert f"\n{figure}" in done.stdout
