"""A machine within this one: network, mount and process namespaces of its own, linked to this machine and to nothing else."""

import fcntl
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.errors import EngineError
from engines.java import cache
from engines.kubernetes import cgroups
from engines.kubernetes.namespace import READY
from engines.program import Program

_PLACES = range(128)
_DEVICES = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses of one: a /22 of 198.18.0.0/15, which is set aside for tests of devices and used by no network."""

    number: int

    @property
    def link(self) -> str:
        """The interface by which this machine reaches it."""
        return f"parley{self.number}"

    @property
    def host(self) -> str:
        """This machine's address for it: pods reach it, others do not."""
        return f"{self._net(0)}.1"

    @property
    def node(self) -> str:
        """Its own address: this machine and pods reach it."""
        return f"{self._net(0)}.2"

    @property
    def pods(self) -> str:
        """What the addresses of its pods begin with (a /24)."""
        return self._net(1)

    @property
    def services(self) -> str:
        """The same for Services."""
        return self._net(2)

    def _net(self, third: int) -> str:
        number = self.number * 4 + third
        return f"198.{18 + number // 256}.{number % 256}"


class Machine:
    """When its first process ends, however that comes, the kernel ends all others in it and forgets its mounts, addresses and rules."""

    def __init__(self, name: str, folder: Path) -> None:
        self._program = Program(name, folder)
        self._facts = folder / f"{name}.json"

    @property
    def place(self) -> Place:
        """Where it is; that stays."""
        return Place(json.loads(self._facts.read_text())["place"])

    @property
    def cgroup(self) -> str:
        """The path of its control groups."""
        return f"/{self.place.link}"

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._program.running

    def start(self) -> None:
        """Make it. Raises EngineError."""
        with _alone():
            if not self._facts.exists():
                self._facts.write_text(json.dumps({"place": _free_place().number}))
            if (_DEVICES / self.place.link).exists():
                raise EngineError(
                    f"its addresses ({self.place.link}) have been taken by another node, and its data is bound to them:"
                    f" wait until that has ended, or remove {self._facts} and the data beside it"
                )
            _forget_the_dead()
            cgroups.make(self.place.link)
            self._program.start(
                [
                    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                    *(sys.executable, "-u", str(Path(__file__).with_name("namespace.py"))),
                ]
            )
            self._program.wait_until(lambda: self._program.said(READY))
            self._connect()

    def kill(self) -> None:
        """End it and all that runs in it at once."""
        self._program.kill()
        if self._facts.exists():
            with _alone():
                cgroups.remove(self.place.link)

    def inside(self, *command: str) -> list[str]:
        """The command that runs a command in it."""
        return ["nsenter", f"--target={self._first()}", "--net", "--mount", "--pid", *command]

    def _first(self) -> int:
        """Its first process, by the number that it has on this machine."""
        pid = self._program.pid
        children = psutil.Process(pid).children() if pid else []
        if not children:
            raise EngineError("the machine of this node does not run")
        return children[0].pid

    def _connect(self) -> None:
        place, pid = self.place, str(self._first())
        _run("ip", "link", "add", place.link, "type", "veth", "peer", "name", "host", "netns", pid)
        _run("ip", "addr", "add", f"{place.host}/30", "dev", place.link)
        _run("ip", "link", "set", place.link, "up")
        _run(*self.inside("ip", "addr", "add", f"{place.node}/30", "dev", "host"))
        _run(*self.inside("ip", "link", "set", "host", "up"))
        # An address of a Service is replaced by a pod's only if there seems to be a way to it.
        _run(*self.inside("ip", "route", "add", f"{place.services}.0/24", "dev", "lo"))
        for net in (place.pods, place.services):
            _run("ip", "route", "add", f"{net}.0/24", "via", place.node)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time takes a place or gives it back."""
    with (cache() / "machines.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _free_place() -> Place:
    """Any: who has been stopped keeps a place, and the next one that starts is not to get just that."""
    for place in map(Place, random.sample(_PLACES, len(_PLACES))):
        if not (_DEVICES / place.link).exists():
            return place
    raise EngineError(f"{len(_PLACES)} nodes run here already")


def _forget_the_dead() -> None:
    """Control groups are all that is left of a machine that nobody ended as close() does."""
    for place in map(Place, _PLACES):
        if not (_DEVICES / place.link).exists():
            cgroups.remove(place.link)


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if ran.returncode != 0:
        raise EngineError(f"{' '.join(command)}: {ran.stderr.strip()}")
