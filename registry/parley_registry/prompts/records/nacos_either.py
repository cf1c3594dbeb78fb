"""Prompts in a Nacos of any version: in its prompt registry where it has one (from 3.2), else as configs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from parley_registry.nacos.config import Config, Listener
from parley_registry.nacos.lock import Locks
from parley_registry.nacos.server import Nacos
from parley_registry.prompts.library import PromptLibrary
from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion, VersionNote
from parley_registry.prompts.records.nacos import NacosPrompts, index_id
from parley_registry.prompts.records.nacos_api import NacosApiPrompts
from parley_registry.prompts.source import Wanted

_LOOK = 1.0
"""Seconds between two looks whether Nacos is still there, while it says nothing."""
POLL = 0.8
"""Seconds between two looks at a prompt that Nacos does not push."""


class NacosEitherPrompts:
    """`record.PromptRecord` on a Nacos, which is opened and asked what it is when first used."""

    def __init__(self, nacos: Nacos) -> None:
        self._nacos = nacos
        self._configs = NacosPrompts(nacos)
        self._api = NacosApiPrompts(nacos.http, Locks(nacos.connection), nacos.address.namespaces)
        self._chosen: NacosPrompts | NacosApiPrompts | None = None

    async def chosen(self) -> NacosPrompts | NacosApiPrompts:
        """The one that this Nacos is spoken to with."""
        if self._chosen is None:
            self._nacos.open()
            self._chosen = self._api if await self._api.there() else self._configs
        return self._chosen

    async def pushes(self) -> bool:
        """Whether Nacos tells of changes by itself."""
        return isinstance(await self.chosen(), NacosPrompts)

    async def load(self, key: PromptKey) -> Prompt | None:
        """See `PromptRecord.load`."""
        return await (await self.chosen()).load(key)

    async def read(self, key: PromptKey, note: VersionNote) -> PromptVersion | None:
        """See `PromptRecord.read`."""
        return await (await self.chosen()).read(key, note)

    async def save(
        self, prompt: Prompt, was: Prompt | None, new: PromptVersion | None, concerning: str
    ) -> bool:
        """See `PromptRecord.save`."""
        return await (await self.chosen()).save(prompt, was, new, concerning)

    async def drop(self, prompt: Prompt) -> bool:
        """See `PromptRecord.drop`."""
        return await (await self.chosen()).drop(prompt)

    async def page(
        self, namespace: str, words: Sequence[str], after: PromptKey | None, limit: int
    ) -> Sequence[Prompt]:
        """See `PromptRecord.page`."""
        return await (await self.chosen()).page(namespace, words, after, limit)

    async def names(self, namespace: str) -> list[str]:
        """The names of all prompts of a namespace, in order."""
        return await (await self.chosen()).names(namespace)


class NacosPromptSource(PromptLibrary):
    """`source.PromptSource` directly on Nacos, without a registry service between."""

    def __init__(self, nacos: Nacos) -> None:
        self._either = NacosEitherPrompts(nacos)
        super().__init__(self._either)
        self._nacos = nacos

    async def follow(self, wanted: Wanted) -> AsyncGenerator[PromptKey, None]:
        """See `PromptSource.follow`; Nacos pushes configs within 0.1 to 0.3 s, its prompt registry is polled."""
        following = self._pushed(wanted) if await self._either.pushes() else self._polled(wanted)
        try:
            async for key in following:
                yield key
        finally:
            await following.aclose()

    async def _polled(self, wanted: Wanted) -> AsyncGenerator[PromptKey, None]:
        seen: dict[PromptKey, Prompt | None] = {}
        while True:
            for key in wanted.keys:
                now = await self._either.load(key)
                if key not in seen or seen[key] != now:
                    seen[key] = now
                    yield key
            await asyncio.sleep(POLL)

    async def _pushed(self, wanted: Wanted) -> AsyncGenerator[PromptKey, None]:
        self._nacos.open()
        told: asyncio.Queue[PromptKey] = asyncio.Queue()
        listeners: dict[PromptKey, Listener] = {}
        try:
            while True:
                for key in wanted.keys:
                    if key not in listeners:
                        listeners[key] = self._nacos.configs.listen(index_id(key), _teller(told, key))
                next_key = asyncio.ensure_future(told.get())
                grown = asyncio.ensure_future(wanted.grown())
                try:
                    await asyncio.wait([next_key, grown], timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    grown.cancel()
                    if not next_key.done():
                        next_key.cancel()
                if next_key.done() and not next_key.cancelled():
                    yield next_key.result()
                elif not self._nacos.connection.live:
                    raise self._nacos.connection.problem
        finally:
            for listener in listeners.values():
                listener.close()


def _teller(told: "asyncio.Queue[PromptKey]", key: PromptKey) -> Callable[[Config | None], None]:
    return lambda _: told.put_nowait(key)
