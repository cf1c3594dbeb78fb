"""What an executor gets prompts from: in memory, kept fresh, there also while the registry is not."""

import asyncio
import logging
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from parley_core.errors import ParleyError
from parley_registry.entry import PUBLIC
from parley_registry.errors import RegistryUnavailable, UnknownPrompt
from parley_registry.prompts.prompt import (
    PRODUCTION,
    AgentVersion,
    Prompt,
    PromptKey,
    PromptVersion,
    Variable,
)
from parley_registry.prompts.source import PromptSource, Wanted
from parley_registry.prompts.template import placeholders
from parley_registry.prompts.wire import with_digest

_logger = logging.getLogger(__name__)

_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before the registry is tried again."""


class HasPrompts(Protocol):
    """A registry, as far as this needs it (`client.RegistryClient` is one)."""

    @property
    def namespace(self) -> str:
        """The namespace of the prompts meant."""

    @property
    def prompts(self) -> PromptSource:
        """Its prompts."""


@dataclass(frozen=True, slots=True)
class _Held:
    prompt: Prompt
    labels: frozenset[str]
    """Those that it was read for."""
    texts: dict[str, PromptVersion]
    """By digest."""


class Prompts:
    """The prompts of a registry for one version of an agent. Use as an async context manager, or `start` and `aclose` it.

    The first `get` of a prompt asks the registry; from then on it is answered from memory, and what changes in the
    registry is in memory within a second. While the registry is away, what was known last is answered.

        async with Prompts(registry, agent="coder", agent_version="2.0.0") as prompts:
            text = (await prompts.get("review")).render(language="python")
    """

    def __init__(
        self, registry: HasPrompts, *, agent: str = "", agent_version: str = "", deadline: float = 2.0
    ) -> None:
        self._source = registry.prompts
        self._namespace = registry.namespace
        self._who = AgentVersion(agent, agent_version) if agent else None
        self._deadline = deadline
        self._wanted = Wanted()
        self._labels: dict[PromptKey, set[str]] = {}
        self._held: dict[PromptKey, _Held] = {}
        self._failed: dict[PromptKey, tuple[float, ParleyError]] = {}
        self._loading: dict[PromptKey, asyncio.Lock] = {}
        self._said: set[tuple[PromptKey, str]] = set()
        self._away = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin to keep fresh what is asked for."""
        self._task = asyncio.create_task(self.run(), name="parley-prompts")

    async def aclose(self) -> None:
        """Stop keeping it fresh; the registry's client stays open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def get(self, name: str, *, label: str = PRODUCTION, default: str | None = None) -> PromptVersion:
        """The version of a prompt that `label` means for this agent version (a binding of it goes before the label).

        `default` is a template for the time in which the registry has never been reached, or has no such prompt or
        label (it comes back as version ""). Without one, raises RegistryUnavailable after `deadline` seconds, or
        UnknownPrompt.
        """
        key = PromptKey(self._namespace, name)
        self._labels.setdefault(key, set()).add(label)
        self._wanted.add(key)
        problem: ParleyError | None = None
        found = self._known(key, label)
        if found is None and (key not in self._held or label not in self._held[key].labels):
            problem = await self._try(key)
            found = self._known(key, label)
        if found is not None:
            self._said.discard((key, label))
            return found
        if default is None:
            held = self._held.get(key)
            if held is not None:
                held.prompt.chosen(label, self._who)
            raise problem or UnknownPrompt(f"there is no prompt named {name!r}")
        if (key, label) not in self._said:
            self._said.add((key, label))
            _logger.warning(
                "the prompt %s is the default written in the code: %s",
                name,
                problem or f"it has no label {label!r}",
            )
        return default_prompt(name, default, self._namespace)

    async def run(self) -> None:
        """Keep fresh what is asked for, until cancelled; `start` runs this."""
        failures = 0
        while True:
            if not self._wanted.keys:
                await self._wanted.grown()
            try:
                async with aclosing(self._source.follow(self._wanted)) as changes:
                    async for key in changes:
                        await self._refresh(key)
                        failures = 0
                        if self._away:
                            self._away = False
                            _logger.info("prompts are fresh again")
                raise RegistryUnavailable("the registry ended the watch")
            except ParleyError as error:
                if not self._away:
                    self._away = True
                    _logger.warning("prompts stay as they were known last: %s", error)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)] * random.uniform(0.5, 1.5))
            failures += 1

    def _known(self, key: PromptKey, label: str) -> PromptVersion | None:
        held = self._held.get(key)
        if held is None:
            return None
        try:
            digest = held.prompt.note(held.prompt.chosen(label, self._who)).digest
        except UnknownPrompt:
            return None
        return held.texts.get(digest)

    async def _try(self, key: PromptKey) -> ParleyError | None:
        """Ask for it, unless that failed just now; what went wrong."""
        failed = self._failed.get(key)
        if failed is not None and time.monotonic() - failed[0] < _PAUSES[2]:
            return failed[1]
        try:
            await self._refresh(key)
        except ParleyError as error:
            self._failed[key] = (time.monotonic(), error)
        failed = self._failed.get(key)
        return failed[1] if failed is not None else None

    async def _refresh(self, key: PromptKey) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                async with self._loading.setdefault(key, asyncio.Lock()):
                    await self._load(key)
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryUnavailable(
                f"what the registry tells of {key.name} is no prompt ({error!r})"
            ) from error
        except TimeoutError:
            raise RegistryUnavailable(
                f"the registry did not give the prompt {key.name} within {self._deadline:g} s"
            ) from None

    async def _load(self, key: PromptKey) -> None:
        try:
            labels = frozenset(self._labels[key])
            prompt = await self._source.get(key)
            held = self._held.get(key)
            known = held.texts if held is not None else {}
            texts: dict[str, PromptVersion] = {}
            for label in sorted(labels):
                try:
                    note = prompt.note(prompt.chosen(label, self._who))
                except UnknownPrompt:
                    continue
                texts[note.digest] = known.get(note.digest) or await self._source.version(key, note.version)
        except UnknownPrompt as error:
            self._held.pop(key, None)
            self._failed[key] = (time.monotonic(), error)
            return
        self._held[key] = _Held(prompt, labels, texts)
        self._failed.pop(key, None)


def default_prompt(name: str, template: str, namespace: str = PUBLIC) -> PromptVersion:
    """A template written in code as a prompt of version "": all its variables are required."""
    names, _ = placeholders(template)
    variables = tuple(Variable(one) for one in names)
    return with_digest(PromptVersion(namespace, name, "", template, variables))
