"""Control groups of one name, in every hierarchy that this machine has mounted (version 1) or in the one (version 2)."""

import os
import time
from pathlib import Path

_DEADLINE = 10


def make(name: str) -> None:
    """Make them, to hold others."""
    for root in _roots():
        group = root / name
        group.mkdir(exist_ok=True)
        # Its pods together count as ten processes of this machine, not as one.
        if (root / "cpu.shares").exists():
            (group / "cpu.shares").write_text("10240")
        # A new set of processors is empty, and nothing can run in it.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (root / setting).exists():
                (group / setting).write_text((root / setting).read_text())


def remove(name: str) -> None:
    """Remove them and all within, once nothing runs there any more (what was just killed takes a moment)."""
    deadline = time.monotonic() + _DEADLINE
    for root in _roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    break


def _roots() -> list[Path]:
    mounted = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(mount[1]) for mount in mounted if mount[2] in ("cgroup", "cgroup2")]
