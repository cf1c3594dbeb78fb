"""Prompts that Nacos keeps: a copy in the database, which is read and listed, also while Nacos is away."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from parley_core.errors import ParleyError
from parley_registry.errors import BadRequest
from parley_registry.nacos.config import Listener
from parley_registry.nacos.missing import Missing
from parley_registry.nacos.server import Nacos
from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion, VersionNote
from parley_registry.prompts.records.nacos import PROMPTS, index_id
from parley_registry.prompts.records.nacos_either import NacosEitherPrompts
from parley_registry.prompts.records.sql import SqlPrompts

_logger = logging.getLogger(__name__)

RESYNC = 30.0
"""Seconds between two looks at which prompts there are, for what no push has told."""
POLL = 2.0
"""Seconds between two looks at all prompts where Nacos pushes none (its own prompt registry, from 3.2)."""
_RETRY = 1.0
_ALL = 1_000_000


class MirroredPrompts:
    """`record.PromptRecord`: changes go to Nacos, and are in the copy when the call returns. Have `run` run: Nacos pushes
    what others change."""

    def __init__(
        self, nacos: Nacos, copy: SqlPrompts, namespaces: Sequence[str], changed: Callable[[], None]
    ) -> None:
        self._nacos = nacos
        self._source = NacosEitherPrompts(nacos)
        self._copy = copy
        self._namespaces = tuple(namespaces)
        self._changed = changed
        self._listeners: dict[PromptKey, Listener] = {}
        self._open: dict[PromptKey, None] = {}
        self._wake = asyncio.Event()
        self._away = False
        self._left_out: set[PromptKey] = set()
        self._missing = {namespace: self._missing_of(namespace) for namespace in self._namespaces}

    async def load(self, key: PromptKey) -> Prompt | None:
        """See `PromptRecord.load`."""
        return await self._copy.load(key)

    async def read(self, key: PromptKey, note: VersionNote) -> PromptVersion | None:
        """See `PromptRecord.read`."""
        return await self._copy.read(key, note)

    async def page(
        self, namespace: str, words: Sequence[str], after: PromptKey | None, limit: int
    ) -> Sequence[Prompt]:
        """See `PromptRecord.page`."""
        return await self._copy.page(namespace, words, after, limit)

    async def save(
        self, prompt: Prompt, was: Prompt | None, new: PromptVersion | None, concerning: str
    ) -> bool:
        """See `PromptRecord.save`."""
        if prompt.namespace not in self._namespaces:
            raise BadRequest(
                f"this registry keeps the namespaces {', '.join(self._namespaces)} of Nacos; {prompt.namespace!r} is none "
                "of them"
            )
        if not await self._source.save(prompt, was, new, concerning):
            await self._bring(prompt.key)
            return False
        await self._copy.copy(prompt, [new] if new else [], concerning)
        return True

    async def drop(self, prompt: Prompt) -> bool:
        """See `PromptRecord.drop`."""
        if not await self._source.drop(prompt):
            await self._bring(prompt.key)
            return False
        await self._copy.forget(prompt.key)
        return True

    async def run(self) -> None:
        """Follow Nacos until cancelled; what goes wrong is said once and tried again."""
        watches = [
            self._nacos.configs.watch(namespace, PROMPTS, self._teller(namespace))
            for namespace in self._namespaces
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle())
                tasks.create_task(self._resync())
        finally:
            for watch in watches:
                watch.close()
            for listener in self._listeners.values():
                listener.close()

    async def _settle(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            open_now, self._open = list(self._open), {}
            for key in open_now:
                try:
                    await self._bring(key)
                except BadRequest as error:
                    if key not in self._left_out:
                        self._left_out.add(key)
                        _logger.warning("a prompt of Nacos is not shown: %s", error)
                except ParleyError as error:
                    self._say(error)
                    self._tell(key)
                    await asyncio.sleep(_RETRY)
                else:
                    self._say(None)

    def _missing_of(self, namespace: str) -> Missing[PromptKey]:
        async def known() -> set[PromptKey]:
            return {one.key for one in await self._copy.page(namespace, (), None, _ALL)}

        async def listed() -> set[PromptKey]:
            return {PromptKey(namespace, name) for name in await self._source.names(namespace)}

        return Missing(f"prompts of {namespace}", known, listed)

    async def _resync(self) -> None:
        while True:
            try:
                pushes = await self._source.pushes()
                for namespace in self._namespaces:
                    found = {PromptKey(namespace, name) for name in await self._source.names(namespace)}
                    for key in found:
                        self._listen(key) if pushes else self._tell(key)
                    for prompt in await self._copy.page(namespace, (), None, _ALL):
                        if prompt.key not in found:
                            self._tell(prompt.key)
            except ParleyError as error:
                self._say(error)
                await asyncio.sleep(_RETRY)
            else:
                await asyncio.sleep(RESYNC if pushes else POLL)

    async def _bring(self, key: PromptKey) -> None:
        """Have the copy be as Nacos says now."""
        there = await self._source.load(key)
        missing = self._missing[key.namespace]
        if there is None:
            if await missing.is_gone(key):
                if await self._copy.forget(key):
                    self._changed()
                missing.settled(key)
            return  # or it is looked at again by `_resync`
        missing.settled(key)
        here = await self._copy.load(key)
        if here == there:
            return
        known = {(note.version, note.digest) for note in here.versions} if here is not None else set()
        texts = []
        for note in there.versions:
            if (note.version, note.digest) not in known:
                text = await self._source.read(key, note)
                if text is None:
                    _logger.warning("Nacos has no text of the prompt %s %s", key.name, note.version)
                else:
                    texts.append(text)
        if await self._copy.copy(there, texts):
            self._changed()

    def _teller(self, namespace: str) -> Callable[[str, bool], None]:
        def told(name: str, exists: bool) -> None:
            key = PromptKey(namespace, name)
            if exists:
                self._listen(key)
            else:
                self._tell(key)

        return told

    def _listen(self, key: PromptKey) -> None:
        if key not in self._listeners:
            self._listeners[key] = self._nacos.configs.listen(index_id(key), lambda _: self._tell(key))

    def _tell(self, key: PromptKey) -> None:
        self._open[key] = None
        self._wake.set()

    def _say(self, error: ParleyError | None) -> None:
        if error is not None and not self._away:
            _logger.warning("the prompts stay as Nacos had them last: %s", error)
        self._away = error is not None
