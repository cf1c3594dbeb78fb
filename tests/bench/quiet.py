"""Whether others use the machine: measurements wait for a quiet moment, for a while, and say how quiet it was."""

import asyncio
import os
import resource
import time

import psutil

_BUSY = 25.0
"""Percent of the processors in use above which a measurement rather waits."""
_LOOK = 0.5
_PATIENCE = float(os.environ.get("BENCH_PATIENCE", "3"))
"""Seconds that one measurement waits at most."""


async def moment() -> None:
    """Return when the machine is quiet, or patience is at its end."""
    until = time.monotonic() + _PATIENCE
    psutil.cpu_percent()
    while time.monotonic() < until:
        await asyncio.sleep(_LOOK)
        if psutil.cpu_percent() < _BUSY:
            return


class Others:
    """Counts, from its making on, what other processes than the bench and its servers use."""

    def __init__(self) -> None:
        self._machine, self._idle = _machine()
        self._own = _own()

    @property
    def percent(self) -> float:
        """Of all the processors' time."""
        machine, idle = _machine()
        total = machine - self._machine
        used = total - (idle - self._idle) - (_own() - self._own)
        return max(0.0, used / total * 100) if total > 0 else 0.0


def _machine() -> tuple[float, float]:
    times = psutil.cpu_times()
    return sum(times[:8]), times.idle + times.iowait


def _own() -> float:
    # Servers count once they have ended, and every measurement ends its own.
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
