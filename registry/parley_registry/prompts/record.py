"""The record of prompts: where they are kept, and what every backend of it promises.

- *One writer at a time wins*: `save` succeeds only on the revision that it was read from, whoever else writes.
- *What a prompt names is there*: the text of a version can be read before any reader can learn of that version.
- *Every change is told*: to the change log (SQL) or to listeners (Nacos), at the latest when `save` returns.
"""

from collections.abc import Sequence
from typing import Protocol

from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion, VersionNote


class PromptRecord(Protocol):
    """See the module's text for the guarantees. All methods may raise parley_core's Unavailable."""

    async def load(self, key: PromptKey) -> Prompt | None:
        """The prompt, or None."""

    async def read(self, key: PromptKey, note: VersionNote) -> PromptVersion | None:
        """One version of it in full, None when it has just gone."""

    async def save(
        self, prompt: Prompt, was: Prompt | None, new: PromptVersion | None, concerning: str
    ) -> bool:
        """Keep `prompt` (with the text of a `new` version of it) in place of `was`; False when it is not `was` any more.

        `concerning` is the version that the change is about, or "". Versions that `prompt` does not name any more go.
        """

    async def drop(self, prompt: Prompt) -> bool:
        """Forget the prompt with all its versions; False when it is not `prompt` any more."""

    async def page(
        self, namespace: str, words: Sequence[str], after: PromptKey | None, limit: int
    ) -> Sequence[Prompt]:
        """Up to `limit` prompts by namespace and name, following `after`: of one namespace (or of all, for ""), with
        every one of `words` (in small letters) in name or description."""
