"""A registry, hosts of several versions on one store, and clients that talk to them without a pause: all real processes."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from engines.ports import free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "canary"
_ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_")}


@dataclass
class Program:
    """A process of Parley's at `url`; ended by kill -9."""

    url: str
    words: tuple[str, ...]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, page: str = "readyz") -> None:
        """Start it, and return when that page says that all is well."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.words], cwd=EXAMPLE, env=_ENVIRONMENT, stderr=log
            )
        deadline = time.monotonic() + 90
        while True:
            try:
                if httpx.get(f"{self.url}/{page}", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self.process.poll() is None, f"{self.words} ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{self.url} was not ready: {self.log.read_text()[-2000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(15)


class World:
    """A registry at `registry_url`, and `hosts` by version, each with the words `more` besides."""

    more: tuple[str, ...] = ()

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self.store = store
        url = f"http://127.0.0.1:{free_port()}"
        place = ("--listen", url.removeprefix("http://"), "--store", f"sqlite:///{folder}/registry.db")
        self.registry_url = url
        self.registry = Program(url, ("parley_registry", *place), folder / "registry.log")
        self.hosts: dict[str, Program] = {}

    def host(self, version: str, executor: str) -> Program:
        """A host of that version, started."""
        url = f"http://127.0.0.1:{free_port()}"
        words = ("parley_cli.main", "host", f"canary:{executor}", "--card", "card.json", "--version", version)
        place = (
            "--listen",
            url.removeprefix("http://"),
            "--store",
            self.store,
            "--registry",
            self.registry_url,
            *self.more,
        )
        made = self.hosts[version] = Program(url, (*words, *place), self.folder / f"{version}.log")
        made.start()
        return made

    def rollout(self, *words: str) -> "subprocess.Popen[str]":
        """`parley rollout …`, begun."""
        return subprocess.Popen(
            [sys.executable, "-m", "parley_cli.main", "rollout", *words, "--registry", self.registry_url],
            cwd=self.folder,
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def did(self, *words: str, code: int = 0, seconds: float = 120) -> str:
        """What `parley rollout …` printed when it had ended with that exit code."""
        process = self.rollout(*words)
        said, _ = process.communicate(timeout=seconds)
        assert process.returncode == code, said
        return said


@contextmanager
def world(folder: Path, store: str) -> Iterator[World]:
    """The world with its registry; all of it is killed in the end."""
    made = World(folder, store)
    with ExitStack() as stack:
        stack.callback(lambda: [one.kill() for one in (made.registry, *made.hosts.values()) if one.process])
        made.registry.start()
        yield made


@dataclass
class Load:
    """Clients that each begin contexts at any of the hosts and go on in earlier ones; a call that fails is made again, with
    the same messageId, at another host. Stopped with the block."""

    hosts: dict[str, Program]
    answers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Which versions answered in a context."""
    born: list[tuple[float, str]] = field(default_factory=list)
    """When contexts began, and which they are."""
    failed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    done: int = 0
    _stop: bool = False

    async def __aenter__(self) -> "Load":
        self._http = httpx.AsyncClient(trust_env=False, timeout=30, headers={"A2A-Version": "1.0"})
        self._clients = [asyncio.create_task(self._client(random.Random(n))) for n in range(6)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await asyncio.gather(*self._clients)
        await self._http.aclose()

    async def _client(self, dice: random.Random) -> None:
        mine: list[str] = []
        while not self._stop:
            if mine and dice.random() < 0.3:
                await self.say(dice.choice(mine))
            else:
                mine.append(str(uuid.UUID(int=dice.getrandbits(128))) + f"-{id(dice)}")
                self.born.append((time.monotonic(), mine[-1]))
                await self.say(mine[-1])
            await asyncio.sleep(0.02)

    async def say(self, context: str, text: str = "hi", *, seconds: float = 60) -> str:
        """Send a message; the state its task ended in."""
        parts = [{"text": text}]
        message = {"messageId": str(uuid.uuid4()), "contextId": context, "role": "ROLE_USER", "parts": parts}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            host = random.choice(list(self.hosts.values()))
            try:
                answer = await self._http.post(f"{host.url}/a2a/rest/message:send", json={"message": message})
                if answer.status_code == 200:
                    return self._answered(context, answer.json()["task"])
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)
        self.lost.append(message["messageId"])  # type: ignore[arg-type]
        return "lost"

    def _answered(self, context: str, task: "dict[str, object]") -> str:
        state = str(task["status"]["state"])  # type: ignore[index]
        self.done += 1
        if state == "TASK_STATE_COMPLETED":
            text = task["artifacts"][0]["parts"][0]["text"]  # type: ignore[index]
            self.answers[context].add(version := text.removeprefix("Hello from "))
            assert task["metadata"]["parley.dev/version"] == version  # type: ignore[index]
        else:
            self.failed[state] += 1
        return state

    def shares(self, since: float) -> Counter[str]:
        """How many of the contexts that began since then answered in which version."""
        return Counter(
            version for at, context in self.born if at >= since for version in self.answers.get(context, ())
        )

    def changed(self) -> dict[str, set[str]]:
        """The contexts in which more than one version answered."""
        return {context: versions for context, versions in self.answers.items() if len(versions) > 1}


async def until(said: str, true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it to be true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.05)


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C."""
    process.send_signal(signal.SIGINT)
