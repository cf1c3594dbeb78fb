"""The operations on prompts over any record of them: read, change purely, save if nobody else was quicker."""

import asyncio
import base64
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from parley_registry.errors import BadRequest, Fault, RegistryBusy, UnknownPrompt
from parley_registry.prompts.changes import bound, labelled, pushed, unbound, unlabelled, without
from parley_registry.prompts.check import check_binding, check_label
from parley_registry.prompts.prompt import AgentVersion, Prompt, PromptKey, PromptPage, PromptVersion, Pushed
from parley_registry.prompts.record import PromptRecord

_TRIES = 12
"""Changes of one prompt that may be overtaken before the caller is sent away."""


class PromptLibrary:
    """All of `source.PromptSource` but following, over a record. Calls of any number of processes may meet."""

    def __init__(self, record: PromptRecord, *, clock: Callable[[], float] = time.time) -> None:
        self._record = record
        self._clock = clock

    async def get(self, key: PromptKey) -> Prompt:
        """See `PromptSource.get`."""
        prompt = await self._record.load(key)
        if prompt is None:
            raise _unknown(key)
        return prompt

    async def version(self, key: PromptKey, version: str) -> PromptVersion:
        """See `PromptSource.version`."""
        found = await self._record.read(key, (await self.get(key)).note(version))
        if found is None:
            raise UnknownPrompt(f"the prompt {key.name} {version} has just been deleted")
        return found

    async def push(self, version: PromptVersion, labels: Sequence[str] = ()) -> Pushed:
        """See `PromptSource.push`."""
        key = PromptKey(version.namespace, version.name)
        for attempt in range(_TRIES):
            was = await self._record.load(key)
            before = was or Prompt(*key)
            after = pushed(before, version, labels)
            created = len(after.versions) > len(before.versions)
            new = version if created else None
            if after == before or await self._record.save(self._numbered(after), was, new, version.version):
                kept = version if created else await self._record.read(key, after.note(version.version))
                if kept is not None:
                    return Pushed(kept, created)
            await _pause(attempt)
        raise _overtaken(key)

    async def label(self, key: PromptKey, label: str, version: str) -> Prompt:
        """See `PromptSource.label`."""
        check_label(label)
        return await self._change(key, lambda prompt: labelled(prompt, label, version), version)

    async def unlabel(self, key: PromptKey, label: str) -> Prompt:
        """See `PromptSource.unlabel`."""
        check_label(label)
        return await self._change(key, lambda prompt: unlabelled(prompt, label))

    async def bind(self, key: PromptKey, agent: AgentVersion, version: str) -> Prompt:
        """See `PromptSource.bind`."""
        check_binding(agent)
        return await self._change(key, lambda prompt: bound(prompt, agent, version), version)

    async def unbind(self, key: PromptKey, agent: AgentVersion) -> Prompt:
        """See `PromptSource.unbind`."""
        check_binding(agent)
        return await self._change(key, lambda prompt: unbound(prompt, agent))

    async def delete(self, key: PromptKey, version: str | None = None) -> None:
        """See `PromptSource.delete`."""
        for attempt in range(_TRIES):
            was = await self.get(key)
            after = replace(was, versions=()) if version is None else without(was, version)
            if after.versions:
                done = await self._record.save(self._numbered(after), was, None, version or "")
            else:
                done = await self._record.drop(was)
            if done:
                return
            await _pause(attempt)
        raise _overtaken(key)

    async def list(
        self, namespace: str = "", text: str = "", limit: int = 100, cursor: str = ""
    ) -> PromptPage:
        """See `PromptSource.list`."""
        after = PromptKey(*read_cursor(cursor)) if cursor else None
        found = await self._record.page(namespace, text.lower().split(), after, limit + 1)
        more = len(found) > limit
        return PromptPage(tuple(found[:limit]), write_cursor(found[limit - 1].key) if more else "")

    async def _change(
        self, key: PromptKey, change: Callable[[Prompt], Prompt], concerning: str = ""
    ) -> Prompt:
        for attempt in range(_TRIES):
            was = await self.get(key)
            after = change(was)
            if after == was:
                return was
            after = self._numbered(after)
            if await self._record.save(after, was, None, concerning):
                return after
            await _pause(attempt)
        raise _overtaken(key)

    def _numbered(self, after: Prompt) -> Prompt:
        return replace(after, revision=after.revision + 1, updated=self._clock())


def write_cursor(key: tuple[str, str]) -> str:
    """The opaque cursor of the page after `key`."""
    return base64.urlsafe_b64encode(orjson.dumps(list(key))).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[str, str]:
    """Namespace and name that a cursor stands for. Raises BadRequest."""
    try:
        namespace, name = orjson.loads(
            base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        )
        if isinstance(namespace, str) and isinstance(name, str):
            return namespace, name
    except (ValueError, TypeError):
        pass  # said below
    fault = Fault(
        "cursor", "is not a cursor of this registry; take `next` of the page before, or leave it out"
    )
    raise BadRequest("the list cannot be continued there", (fault,))


async def _pause(attempt: int) -> None:
    await asyncio.sleep(random.uniform(0.005, 0.02) * 2 ** min(attempt, 5))


def _unknown(key: PromptKey) -> UnknownPrompt:
    where = "here" if key.namespace == "public" else f"in the namespace {key.namespace!r}"
    return UnknownPrompt(
        f"there is no prompt named {key.name!r} {where}; `parley prompts list` shows those there are"
    )


def _overtaken(key: PromptKey) -> RegistryBusy:
    return RegistryBusy(f"the prompt {key.name} is being changed by others all the time; try again")
