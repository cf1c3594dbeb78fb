"""Prompts as configs of Nacos (any version from 3.0), which it keeps, versions and pushes.

Group `parley-prompts` has one config a prompt, named like it: versions, labels and bindings as JSON. The texts are in
group `parley-prompt-texts`, named `<prompt>:<version>:<digest>`, so that no two writers ever mean the same one. What
counts is what the first names: it is written after the text and only as long as nobody else has written it since.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence

import orjson

from parley_registry.errors import BadRequest, RegistryUnavailable
from parley_registry.nacos.config import Config, ConfigKey, Configs
from parley_registry.nacos.connection import Overtaken
from parley_registry.nacos.lock import Locks
from parley_registry.nacos.server import Nacos
from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion, VersionNote
from parley_registry.prompts.wire import prompt_json, read_prompt, read_version, version_json

PROMPTS = "parley-prompts"
TEXTS = "parley-prompt-texts"

_NONE_YET = "0" * 32
"""A hash that no config has: what is published since it is new or not at all."""
_SHOWN = 5.0
"""Seconds within which Nacos shows what it has taken; usually 0.1 to 0.3."""
_PAGE = 200


class NacosPrompts:
    """`record.PromptRecord` on a Nacos, which is opened when first used."""

    def __init__(self, nacos: Nacos) -> None:
        self._nacos = nacos
        self._locks = Locks(nacos.connection)

    async def load(self, key: PromptKey) -> Prompt | None:
        """See `PromptRecord.load`; for some 0.1 s after a change by others it may still be what was before."""
        found = await self._configs.get(index_id(key))
        prompt = prompt_of(key, found)
        if found is not None and prompt is None:
            raise BadRequest(
                f"the config {key.name!r} in group {PROMPTS} of namespace {key.namespace} is no prompt as Parley writes "
                "them; remove it from Nacos, or take another name"
            )
        return prompt

    async def read(self, key: PromptKey, note: VersionNote) -> PromptVersion | None:
        """See `PromptRecord.read`."""
        found = await self._configs.get(_text_id(key, note))
        if found is None:
            return None
        try:
            return read_version(orjson.loads(found.text))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None  # not of our making

    async def save(
        self, prompt: Prompt, was: Prompt | None, new: PromptVersion | None, concerning: str
    ) -> bool:
        """See `PromptRecord.save`; returns once this server shows it."""
        async with self._locks.hold(_lock(prompt.key)):
            if not await self._is(was, prompt.key):
                return False
            if new is not None:
                text_id = _text_id(prompt.key, prompt.note(new.version))
                await self._configs.publish(text_id, orjson.dumps(version_json(new)).decode())
                await self._shown(text_id)
            index = _index(prompt)
            try:
                since = _md5(_index(was)) if was is not None else _NONE_YET
                await self._configs.publish(index_id(prompt.key), index, since=since)
            except Overtaken:
                return False
            await self._shown(index_id(prompt.key), _md5(index))
            for note in was.versions if was is not None else ():
                if note not in prompt.versions:
                    await self._configs.remove(_text_id(prompt.key, note))
            return True

    async def drop(self, prompt: Prompt) -> bool:
        """See `PromptRecord.drop`."""
        async with self._locks.hold(_lock(prompt.key)):
            if not await self._is(prompt, prompt.key):
                return False
            await self._configs.remove(index_id(prompt.key))
            for note in prompt.versions:
                await self._configs.remove(_text_id(prompt.key, note))
            await self._shown(index_id(prompt.key), "")
            return True

    async def page(
        self, namespace: str, words: Sequence[str], after: PromptKey | None, limit: int
    ) -> Sequence[Prompt]:
        """See `PromptRecord.page`; reads one prompt after the other. Of all namespaces: those of the address."""
        found: list[Prompt] = []
        for space in sorted([namespace] if namespace else self._nacos.address.namespaces):
            for name in await self.names(space):
                key = PromptKey(space, name)
                if after is not None and key <= after:
                    continue
                prompt = prompt_of(key, await self._configs.get(index_id(key)))
                told = f"{prompt.name}\n{prompt.description}".lower() if prompt is not None else ""
                if prompt is not None and all(word in told for word in words):
                    found.append(prompt)
                if len(found) == limit:
                    return found
        return found

    async def names(self, namespace: str) -> list[str]:
        """The names of all prompts of a namespace, in order."""
        found: set[str] = set()
        number = 1
        while True:
            query = {
                "namespaceId": namespace,
                "groupName": PROMPTS,
                "dataId": "",
                "search": "accurate",
                "pageNo": str(number),
                "pageSize": str(_PAGE),
            }
            page = await self._nacos.http.get("/v3/admin/cs/config/list", query)
            found.update(str(one["dataId"]) for one in page["pageItems"])
            if number >= int(page["pagesAvailable"]):
                return sorted(found)
            number += 1

    @property
    def _configs(self) -> Configs:
        self._nacos.open()
        return self._nacos.configs

    async def _is(self, prompt: Prompt | None, key: PromptKey) -> bool:
        found = await self._configs.get(index_id(key))
        return (found.md5 if found else "") == (_md5(_index(prompt)) if prompt is not None else "")

    async def _shown(self, config: ConfigKey, md5: str | None = None) -> None:
        """Return when Nacos shows a config with that hash ("": none any more; None: any)."""
        until = time.monotonic() + _SHOWN
        while time.monotonic() < until:
            found = await self._configs.get(config)
            if (found is not None) if md5 is None else (found.md5 if found else "") == md5:
                return
            await asyncio.sleep(0.02)
        raise RegistryUnavailable(
            f"{self._nacos.address} took a change of {config.id} but does not show it; see what is there, then try again"
        )


def index_id(key: PromptKey) -> ConfigKey:
    """The config that says all of a prompt but its texts."""
    return ConfigKey(key.namespace, PROMPTS, key.name)


def prompt_of(key: PromptKey, found: Config | None) -> Prompt | None:
    """The prompt that its config tells of; None for no config, and for one that is not of our making."""
    if found is None:
        return None
    try:
        prompt = read_prompt(orjson.loads(found.text))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return prompt if prompt.key == key else None


def _text_id(key: PromptKey, note: VersionNote) -> ConfigKey:
    # An id is of letters, digits, `_ - . :`; a version has no colon, so one can stand for its plus.
    version = note.version.replace("+", ":")
    return ConfigKey(key.namespace, TEXTS, f"{key.name}:{version}:{note.digest[:16]}")


def _index(prompt: Prompt) -> str:
    return orjson.dumps(prompt_json(prompt)).decode()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _lock(key: PromptKey) -> str:
    return f"parley-prompt:{key.namespace}:{key.name}"
