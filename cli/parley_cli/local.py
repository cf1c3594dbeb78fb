"""Starting, using and ending the embedded platform of a home, from any number of commands at once.

Whoever needs the platform calls `attach`; it starts one when none runs. A platform that nobody asked to keep
(`parley up`, `--keep`, `--detach`) ends with the last command that uses it: each user holds a shared lock
while it is attached, and the one that can have it alone at the end was the last.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from parley_cli.home import Home, try_lock
from parley_cli.overnacos import VARIABLE, OverNacos
from parley_cli.platform import (
    Platform,
    end,
    find_process,
    killed,
    last_line,
    load,
    running,
    save,
    stopped,
    supervised,
)
from parley_core.errors import ParleyError

START_SECONDS = 90.0
"""How long a platform may take to be ready. It takes seconds; slow disks and busy machines take longer."""
STOP_SECONDS = 45.0
COMMAND = (sys.executable, "-m", "parley_cli.supervisor")
"""What supervises a platform; the home's path is its argument."""
_LOOK = 0.05


class PlatformError(ParleyError):
    """The platform of this home could not be started or ended."""


class NotRunning(PlatformError):
    """No platform runs in this home."""


class Attachment:
    """A use of the platform. `started` tells whether this one started it."""

    def __init__(self, home: Home, platform: Platform, started: bool, users: IO[str]) -> None:
        self.home = home
        self.platform = platform
        self.started = started
        self._users = users

    @property
    def kept(self) -> bool:
        """Whether the platform stays when its last user leaves."""
        return self.home.kept.exists()

    def keep(self) -> None:
        """Have the platform stay until `parley down`."""
        self.home.kept.touch()

    def release(self) -> bool:
        """Stop using the platform; ends it, and returns True, when nobody else uses it or asked to keep it."""
        if self.kept:
            self._users.close()
            return False
        with self.home.held("up", timeout=START_SECONDS):
            alone = try_lock(self._users, fcntl.LOCK_EX)
            self._users.close()
            if not alone or self.kept:
                return False
            return _stop(self.home)


def attach(home: Home, *, start: bool = True, nacos: str = "") -> Attachment:
    """Use the platform of `home`, ready to work; start one if none runs, with a registry over the Nacos at `nacos` if that
    is given.

    Raises PlatformError when it does not start or runs over another Nacos, NotRunning when it may not be started and none
    runs.
    """
    home.create()
    with home.held("up", timeout=START_SECONDS):
        platform = running(home)
        started = platform is None
        if started and not start:
            raise NotRunning(f"no platform runs in {home.root}: start one with `parley up`")
        if started:
            home.kept.unlink(missing_ok=True)
            platform = _start(home, nacos)
        elif nacos and platform and platform.over != (wanted := OverNacos.of(nacos)):
            raise PlatformError(
                f"the platform runs {platform.over} already, not {wanted}: `parley down` ends it, then start it again"
            )
        else:
            platform = _until_ready(home, None)
        users = home.lock("users")
        try_lock(users, fcntl.LOCK_SH)
        return Attachment(home, platform, started, users)


@contextmanager
def attached(home: Home, *, keep: bool = False) -> Iterator[Attachment]:
    """`attach` for a block; `keep` has the platform stay afterwards."""
    use = attach(home)
    try:
        if keep:
            use.keep()
        yield use
    finally:
        use.release()


def up(home: Home, nacos: str = "") -> tuple[Platform, bool]:
    """Have the platform run until `down`, over a Nacos if one is given. Returns it, and whether it had to be started. Raises
    PlatformError."""
    use = attach(home, nacos=nacos)
    use.keep()
    use.release()
    return use.platform, use.started


def down(home: Home) -> bool:
    """End the platform and all its processes; False when nothing ran. Raises PlatformError."""
    if not home.run.is_dir():
        return False
    home.kept.unlink(missing_ok=True)
    return _stop(home)


def _start(home: Home, nacos: str) -> Platform:
    with open(home.logs / "supervisor.log", "ab") as output:
        process = subprocess.Popen(
            [*COMMAND, str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home.root,
            env={**os.environ, "PARLEY_HOME": str(home.root)} | ({VARIABLE: nacos} if nacos else {}),
            start_new_session=True,
        )
    try:
        return _until_ready(home, process)
    except BaseException:
        process.terminate()
        raise


def _until_ready(home: Home, process: "subprocess.Popen[bytes] | None") -> Platform:
    """Wait for a supervisor (`process`, or the one that holds the lock) to say that all is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None if process else not supervised(home)
        platform = load(home)
        mine = platform is not None and (process is None or platform.pid == process.pid)
        if platform and mine and platform.ready and not ended:
            return platform
        if ended:
            reason = platform.failed if platform and mine and platform.failed else "it was stopped"
            raise PlatformError(f"the platform did not start: {reason}")
        time.sleep(_LOOK)
    waiting = [p.name for p in platform.processes.values() if p.phase != "up"] if platform else []
    said = "".join(f"\n  {name}: {last_line(home.logs / f'{name}.log')}" for name in waiting)
    raise PlatformError(
        f"the platform is not ready after {START_SECONDS:.0f} s{said}\nsee `parley logs` for more"
    )


def _stop(home: Home) -> bool:
    platform = load(home)
    if platform is None:
        return False
    if gone := killed(home):
        save(home, stopped(gone))
    supervisor = find_process(platform.pid, platform.created)
    members = [p for one in platform.processes.values() if (p := find_process(one.pid, one.created))]
    if supervisor is None and not members:
        return False
    if supervisor:
        end([supervisor], patience=STOP_SECONDS)
    end([p for p in members if p.is_running()], patience=5.0)
    return True
