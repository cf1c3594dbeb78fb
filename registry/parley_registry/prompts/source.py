"""Prompts as the other parts see them, whichever registry they are in."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from parley_registry.prompts.prompt import AgentVersion, Prompt, PromptKey, PromptPage, PromptVersion, Pushed


class Wanted:
    """The prompts that somebody follows: it may grow while they are followed."""

    def __init__(self) -> None:
        self._keys: dict[PromptKey, None] = {}
        self._grown = asyncio.Event()

    @property
    def keys(self) -> tuple[PromptKey, ...]:
        """Those there are now, in the order in which they came."""
        return tuple(self._keys)

    def add(self, key: PromptKey) -> None:
        """Follow that one too."""
        if key not in self._keys:
            self._keys[key] = None
            self._grown.set()
            self._grown = asyncio.Event()

    async def grown(self) -> None:
        """Return when one was added after this call was made."""
        await self._grown.wait()


class PromptSource(Protocol):
    """Every call may raise RegistryUnavailable, and NotAllowed when the registry does not accept who calls."""

    async def get(self, key: PromptKey) -> Prompt:
        """A prompt: versions, labels, bindings, without texts. Raises UnknownPrompt."""

    async def version(self, key: PromptKey, version: str) -> PromptVersion:
        """One version of it in full. Raises UnknownPrompt."""

    async def push(self, version: PromptVersion, labels: Sequence[str] = ()) -> Pushed:
        """Keep a version (and the prompt, if it is its first), and have labels point to it, all at once.

        The same version again is no error. Raises PromptRejected, VersionConflict.
        """

    async def label(self, key: PromptKey, label: str, version: str) -> Prompt:
        """Have a label point to a version. Raises UnknownPrompt, PromptRejected."""

    async def unlabel(self, key: PromptKey, label: str) -> Prompt:
        """Take a label away; one that is not there is no error. Raises UnknownPrompt for the prompt."""

    async def bind(self, key: PromptKey, agent: AgentVersion, version: str) -> Prompt:
        """Give an agent version a version of its own, which goes before every label. Raises UnknownPrompt, PromptRejected."""

    async def unbind(self, key: PromptKey, agent: AgentVersion) -> Prompt:
        """Take that away; what is not there is no error. Raises UnknownPrompt for the prompt."""

    async def delete(self, key: PromptKey, version: str | None = None) -> None:
        """Delete a version, or the prompt with all of them. Raises UnknownPrompt, and PromptInUse for a version that
        a label or an agent version names."""

    async def list(
        self, namespace: str = "", text: str = "", limit: int = 100, cursor: str = ""
    ) -> PromptPage:
        """Prompts by namespace and name: of one namespace (or of all, for ""), with every word of `text` in name or
        description. `cursor` is the `next` of the page before. Raises BadRequest."""

    def follow(self, wanted: Wanted) -> AsyncGenerator[PromptKey, None]:
        """Each of `wanted` at first, and again whenever it may have changed; ends when the iteration is given up.

        A source that was away tells all of them again. Raises NotAllowed, BadRequest.
        """
