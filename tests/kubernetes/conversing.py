"""Clients that begin conversations at an agent's Service and go on with them, whatever happens to who answers."""

import asyncio
import base64
import hashlib
import json
import os
import random
import subprocess
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

PATIENCE = 300.0
"""Seconds for one call with all its repeats."""
COMPLETED = "TASK_STATE_COMPLETED"

Part = dict[str, Any]


@dataclass
class Conversations:
    """Calls to the Service at `url` with `token`. What failed on the way is sent again under the same messageId. Use as a context manager."""

    url: str
    token: str
    versions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Which versions ran the tasks of a context."""
    tasks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The tasks of a context, one for each message."""
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many tasks a version brought to a state."""
    repeated: int = 0
    """How many calls were made again."""

    async def __aenter__(self) -> Self:
        headers = {"A2A-Version": "1.0", "Authorization": f"Bearer {self.token}"}
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=60, limits=limits, trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def say(self, context: str, parts: Sequence[Part]) -> str:
        """Send a message; the version that has run its task to the end."""
        message_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{context} {len(self.tasks[context])}"))
        message = {
            "messageId": message_id,
            "contextId": context,
            "role": "ROLE_USER",
            "parts": list(parts),
        }
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                answer = await self._http.post("/a2a/rest/message:send", json={"message": message})
                said = answer.text
                if answer.status_code == 200:
                    return self._heard(context, answer.json()["task"])
                # What is wrong with the call itself is wrong again.
                assert answer.status_code >= 500 or answer.status_code in (408, 425, 429), said
            except httpx.HTTPError as error:
                said = repr(error)
            assert time.monotonic() < ends, f"{self.url} took no message for {PATIENCE:.0f} s: {said}"
            self.repeated += 1
            await asyncio.sleep(0.3)

    async def say_to_all(self, contexts: Iterable[str], parts: Sequence[Part], at_once: int = 48) -> None:
        """The same message in each of these, so many at a time."""
        waiting = iter(contexts)

        async def client() -> None:
            for context in waiting:
                await self.say(context, parts)

        async with asyncio.TaskGroup() as clients:
            for _ in range(at_once):
                clients.create_task(client())

    async def go_on(self, parts: Sequence[Part], stop: asyncio.Event, seed: int) -> None:
        """Begin contexts, and go on in earlier ones, until told to stop."""
        dice, mine = random.Random(seed), list[str]()
        while not stop.is_set():
            if not mine or dice.random() < 0.6:
                mine.append(str(uuid.UUID(int=dice.getrandbits(128))))
            await self.say(dice.choice(mine), parts)
            await asyncio.sleep(0.2)

    async def events(self, task: str) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """What comes of a task that runs, over one connection, with its numbers. Ends with the task, or when the connection is lost."""
        async with self._http.stream("POST", f"/a2a/rest/tasks/{task}:subscribe", timeout=None) as answer:
            assert answer.status_code == 200, await answer.aread()
            number = -1
            async for line in answer.aiter_lines():
                if line.startswith("id:"):
                    number = int(line[3:])
                elif line.startswith("data:"):
                    yield number, json.loads(line[5:])

    def changed(self) -> dict[str, set[str]]:
        """The contexts that more than one version answered in."""
        return {context: found for context, found in self.versions.items() if len(found) > 1}

    def _heard(self, context: str, task: dict[str, Any]) -> str:
        version = str(task["metadata"]["parley.dev/version"])
        self.versions[context].add(version)
        self.tasks[context].append(task["id"])
        self.ends[version, task["status"]["state"]] += 1
        return version


def contexts(number: int, seed: int) -> list[str]:
    """So many ids, always the same ones for a seed."""
    return [hashlib.blake2b(f"{seed} {one}".encode(), digest_size=16).hexdigest() for one in range(number)]


def text(words: str) -> list[Part]:
    """The parts of a message that says this."""
    return [{"text": words}]


def errand(folder: Path) -> list[Part]:
    """The parts of a message by which a plain A2A client asks a coder to edit a small repository, which is made in `folder`."""
    folder.mkdir()
    (folder / "prices.py").write_text("import os\n\n\ndef total(items):\n    return sum(items)\n")
    who = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@localhost"}
    who |= {"GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@localhost"}

    def git(*words: str) -> str:
        ran = subprocess.run(
            ["git", *words], cwd=folder, env={**os.environ, **who}, capture_output=True, check=True
        )
        return ran.stdout.decode().strip()

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "First")
    commit = git("rev-parse", "HEAD")
    git("bundle", "create", "-q", "whole.bundle", "main")
    bundle = base64.b64encode((folder / "whole.bundle").read_bytes()).decode()
    return [
        {"text": "Remove unused imports"},
        {"raw": bundle, "filename": f"{commit}.bundle", "mediaType": "application/x-git-bundle"},
    ]
