"""Watches what a command and everything it started use together, and ends it when that is too much."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from parley_agents.process import Completed, run

CHECK_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")

Exceeded = Literal["", "time", "memory", "processes"]


async def run_watched(
    arguments: Sequence[str], *, seconds: float, memory: int, processes: int, output: int
) -> tuple[Completed, Exceeded]:
    """Run a command like `process.run`; also the limit it was killed for, "" when it ended by itself.

    `memory` (bytes) and `processes` hold for the command with all its descendants.
    """
    exceeded: list[Literal["memory", "processes"]] = []

    async def watch(pid: int) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            pids, used = await asyncio.to_thread(_usage, pid)
            if used > memory or len(pids) > processes + 8:
                exceeded.append("memory" if used > memory else "processes")
                for victim in (pid, *pids):
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(victim, signal.SIGKILL)

    done = await run(
        arguments,
        timeout=seconds,
        output_limit=output,
        watch=watch,
        tree=lambda pid: _usage(pid)[0],
    )
    if done.timed_out:
        return done, "time"
    return done, exceeded[0] if exceeded else ""


def _usage(root: int) -> tuple[list[int], int]:
    """The descendants of a process, and the bytes of memory they and it have to themselves."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{entry.name}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, todo, memory = [], [root], 0
    while todo:
        pid = todo.pop()
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            memory += max(0, int(fields[1]) - int(fields[2])) * _PAGE
        below = children.get(pid, [])
        found += below
        todo += below
    return found, memory
