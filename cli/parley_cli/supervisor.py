"""The process that keeps an embedded platform running: starts its members, restarts what dies, ends them all.

`python -m parley_cli.supervisor HOME` is what `parley up` leaves behind. SIGTERM or SIGINT ends it and every
member; if it is killed outright, the members go on and the next `up` or `down` clears them away first.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

from parley_cli import blobserver, overnacos, signing
from parley_cli.home import Home, try_lock
from parley_cli.overnacos import NO_NACOS, OverNacos
from parley_cli.platform import (
    Platform,
    Process,
    descendants,
    end,
    find_process,
    last_line,
    load,
    save,
    stopped,
)
from parley_cli.ports import free_ports, is_free
from parley_cli.team import REGISTRY, Member, default_team
from parley_core.errors import ParleyError

if TYPE_CHECKING:
    import httpx

    from parley_registry.client import RegistryClient

log = logging.getLogger("parley.supervisor")

BLOBS = "blobs"
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
SETTLED = 10.0
"""Seconds after which a process that dies is treated as one that had been well: its pause starts short again."""
TRIES_AT_START = 3
"""Deaths of one member before the platform is ready that make `up` give up."""
PATIENCE = 15.0
"""Seconds between asking a member to stop and killing it; more than a host's own draining takes."""
LOG_LIMIT = 20 * 1024 * 1024
"""Bytes after which a member's log is set aside (as .1) when it starts."""


class StartFailed(ParleyError):
    """A member of the platform would not stay up."""


class Supervisor:
    """Runs `members` in `home` until told to stop. One per home: `run` returns False when another has it."""

    def __init__(self, home: Home, members: Sequence[Member], over: OverNacos = NO_NACOS) -> None:
        self._home = home
        self._members = {member.name: member for member in members}
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._platform = Platform(os.getpid(), psutil.Process().create_time(), over=over)

    def stop(self) -> None:
        """Begin to end everything; `run` returns when it is done."""
        self._stop.set()

    async def run(self) -> bool:
        """Start all members, keep them up until `stop`, end them.

        Returns whether this supervisor had the home to itself. Raises StartFailed.
        """
        with self._home.lock("supervisor") as lock:
            if not await self._own(lock):
                return False
            before = load(self._home)
            await asyncio.to_thread(clear, before)
            ports = self._ports(before)
            self._platform = replace(self._platform, blobs=f"http://127.0.0.1:{ports.pop(BLOBS)}")
            for name, port in ports.items():
                self._platform = self._platform.with_process(Process(name, f"http://127.0.0.1:{port}"))
            save(self._home, self._platform)
            failure: StartFailed | None = None
            try:
                async with asyncio.TaskGroup() as tasks:
                    running = [tasks.create_task(self._keep(m)) for m in self._members.values()]
                    running.append(tasks.create_task(self._announce()))
                    running.append(tasks.create_task(blobserver.serve(self._home, self._platform.blobs)))
                    await self._stop.wait()
                    for task in running:
                        task.cancel()
            except* StartFailed as failed:
                failure = next(e for e in failed.exceptions if isinstance(e, StartFailed))
            finally:
                await self._end_all(str(failure or ""))
            if failure:
                raise failure
            return True

    async def _own(self, lock: IO[str]) -> bool:
        """Take the home for ourselves. Whoever only looks whether it is taken holds the lock for a moment."""
        for _ in range(20):
            if try_lock(lock, fcntl.LOCK_EX):
                return True
            await asyncio.sleep(0.05)
        return False

    async def _keep(self, member: Member) -> None:
        """Start a member, and again whenever it ends, with growing pauses while it keeps dying soon."""
        pause, deaths = FIRST_PAUSE, 0
        while True:
            started = time.monotonic()
            child = await self._start(member)
            code = await child.wait()
            lived = time.monotonic() - started
            deaths += 1
            reason = _how(code)
            log.warning("%s ended after %.1f s: %s", member.name, lived, reason)
            if not self._platform.ready and deaths >= TRIES_AT_START:
                last = await asyncio.to_thread(last_line, self._log(member.name))
                raise StartFailed(
                    f"{member.name} does not start ({reason}): {last}; see {self._log(member.name)}"
                )
            pause = FIRST_PAUSE if lived > SETTLED else min(pause * 2, LONGEST_PAUSE)
            self._show(
                replace(
                    self._platform.processes[member.name],
                    phase="waiting to restart",
                    note=reason,
                    restarts=deaths,
                    pid=0,
                    created=0.0,
                )
            )
            await asyncio.sleep(pause)

    async def _start(self, member: Member) -> asyncio.subprocess.Process:
        process = self._platform.processes[member.name]
        port = int(process.url.rpartition(":")[2])
        if process.restarts and not is_free(port) and member.name != REGISTRY:
            port = free_ports(1)[0]  # somebody took it meanwhile; what it publishes names the new one
        arguments = member.arguments(self._home, port, self._platform.registry)
        with _appended(self._log(member.name)) as output:
            child = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._home.root,
                env={
                    **(os.environ if member.name == REGISTRY else overnacos.without(os.environ)),
                    **blobserver.environment(self._home, self._platform.blobs),
                    **signing.environment(self._home),
                    "PARLEY_HOME": str(self._home.root),
                    "PARLEY_NAMESPACE": "",  # the registry's address says which
                },
                start_new_session=True,  # a terminal's Ctrl-C is for the command, not for the platform
            )
        self._children[member.name] = child
        with suppress(psutil.NoSuchProcess):
            self._show(
                replace(
                    process,
                    url=f"http://127.0.0.1:{port}",
                    phase="up" if self._platform.ready else "starting",
                    pid=child.pid,
                    created=psutil.Process(child.pid).create_time(),
                )
            )
        return child

    async def _announce(self) -> None:
        """Say that the platform is ready once every member answers and every skill can be found."""
        import httpx

        from parley_registry.client import RegistryError, RegistryUnavailable, catalogue

        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            await self._until_it_answers(http, REGISTRY)
            async with catalogue(self._platform.registry) as registry:
                for member in self._members.values():
                    if member.card:
                        await _forget_changed(registry, member.card)
            for name in self._members:
                await self._until_it_answers(http, name)
                self._show(replace(self._platform.processes[name], phase="up"))
        async with catalogue(self._platform.registry) as registry:
            missing = {m.skill for m in self._members.values() if m.skill}
            while missing:
                for skill in sorted(missing):
                    with suppress(RegistryError, RegistryUnavailable):
                        if (await registry.search(skill=skill, health="up", limit=1)).entries:
                            missing.discard(skill)
                if missing:
                    await asyncio.sleep(0.1)
        self._platform = replace(self._platform, ready=True)
        save(self._home, self._platform)
        log.info("ready: registry at %s", self._platform.registry)

    async def _until_it_answers(self, http: "httpx.AsyncClient", name: str) -> None:
        from httpx import HTTPError

        while True:
            with suppress(HTTPError):
                if (await http.get(f"{self._platform.processes[name].url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)

    async def _end_all(self, failed: str) -> None:
        """Agents first and the registry last, so that they can withdraw themselves from it."""
        for names in ([n for n in self._members if n != REGISTRY], [REGISTRY]):
            children = [child for name, child in self._children.items() if name in names]
            family = await asyncio.to_thread(descendants, [child.pid for child in children])
            for child in children:
                with suppress(ProcessLookupError):
                    child.terminate()
            ends = [asyncio.create_task(child.wait()) for child in children]
            if ends:
                await asyncio.wait(ends, timeout=PATIENCE)
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if ends:
                await asyncio.wait(ends, timeout=5.0)
        self._platform = stopped(self._platform, failed)
        save(self._home, self._platform)

    def _ports(self, before: Platform | None) -> dict[str, int]:
        """The ports of the last time where they are free, so that addresses people noted stay good."""
        names = [*self._members, BLOBS]
        urls = {**{n: p.url for n, p in before.processes.items()}, BLOBS: before.blobs} if before else {}
        old = {name: int(url.rpartition(":")[2]) for name, url in urls.items()}
        ports = {n: old[n] for n in names if n in old and is_free(old[n])}
        fresh = iter(free_ports(len(names) - len(ports), besides=ports.values()))
        return {n: ports[n] if n in ports else next(fresh) for n in names}

    def _show(self, process: Process) -> None:
        self._platform = self._platform.with_process(process)
        save(self._home, self._platform)

    def _log(self, name: str) -> Path:
        return self._home.logs / f"{name}.log"


async def _forget_changed(registry: "RegistryClient", path: Path) -> None:
    """Delete a version of ours from the catalogue when its card is now another one: a published version does
    not change, but after an update of Parley itself ours may have."""
    from a2a.types import AgentCard
    from google.protobuf.json_format import ParseDict

    from parley_registry.client import RegistryError

    card = ParseDict(json.loads(await asyncio.to_thread(path.read_bytes)), AgentCard())
    try:
        kept = (await registry.get(card.name, card.version)).card
        for one in (card, kept):
            del one.supported_interfaces[:]
            del one.signatures[:]
        if kept != card:
            log.info("%s %s has another card than before", card.name, card.version)
            await registry.delete(card.name, card.version)
    except RegistryError as error:
        log.debug("%s: %s", card.name, error)


def clear(platform: Platform | None) -> None:
    """End members that outlived their supervisor (it was killed): two of each must not run."""
    found = [find_process(p.pid, p.created) for p in platform.processes.values()] if platform else []
    end([p for p in found if p], patience=PATIENCE)


def _appended(path: Path) -> IO[bytes]:
    """A log to write to; one that has grown too long is set aside first."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


async def supervise(home: Home, members: Sequence[Member], over: OverNacos = NO_NACOS) -> int:
    """Run a supervisor under this process's signals; its exit code."""
    supervisor = Supervisor(home, members, over)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        return 0 if await supervisor.run() else 3
    except StartFailed as error:
        log.error("%s", error)
        return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: the home's path is the one argument."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    (path,) = sys.argv[1:] if arguments is None else arguments
    home = Home.at(path)
    home.create()
    over = OverNacos.environment()
    return asyncio.run(supervise(home, default_team(over), over))


if __name__ == "__main__":
    sys.exit(main())
