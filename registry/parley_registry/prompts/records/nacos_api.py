"""Prompts in Nacos's own prompt registry, which it has from 3.2. Built from that version's source and tested with a stand-in
for it: a server of 3.2 was not to be had.

Texts, variables and labels are Nacos's own, so its console and SDKs show and use them. A binding is a label too, named
`agent@version`. The text of a version is published at once, without drafts and reviews. What Nacos has no place for is refused when it is
pushed: hints, authors, and versions other than 1.2.3. A version once published cannot be deleted alone. Nothing is pushed.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import orjson

from parley_registry.errors import BadRequest, Fault, PromptRejected
from parley_registry.nacos.http import NacosHttp
from parley_registry.prompts.prompt import (
    LATEST,
    AgentVersion,
    Prompt,
    PromptKey,
    PromptVersion,
    Variable,
    VersionNote,
)
from parley_registry.prompts.template import placeholders
from parley_registry.prompts.wire import version_json, with_digest
from parley_registry.versions import highest_first, is_version

_PATH = "/v3/admin/ai/prompt"
_PAGE = 50
"""The most that Nacos gives at once."""
_ONLINE = "online"


class Lockable(Protocol):
    """`nacos.lock.Locks`."""

    def hold(self, key: str) -> AbstractAsyncContextManager[None]:
        """Nobody else holds `key` meanwhile."""


class NacosApiPrompts:
    """`record.PromptRecord` over that API."""

    def __init__(self, http: NacosHttp, locks: Lockable, namespaces: Sequence[str]) -> None:
        self._http = http
        self._locks = locks
        self._namespaces = tuple(namespaces)
        self._texts: dict[tuple[PromptKey, str, int], PromptVersion] = {}

    async def there(self) -> bool:
        """Whether this Nacos has such a registry."""
        query = {"namespaceId": self._namespaces[0], "pageNo": "1", "pageSize": "1"}
        try:
            await self._http.get(f"{_PATH}/list", query)
        except BadRequest as error:
            if _is_missing(error):
                return False
            raise
        return True

    async def load(self, key: PromptKey) -> Prompt | None:
        """See `PromptRecord.load`."""
        try:
            told = await self._http.get(f"{_PATH}/governance", _query(key))
        except BadRequest as error:
            if _is_missing(error):
                return None
            raise
        labels = {str(name): str(version) for name, version in (told.get("labels") or {}).items()}
        labels.pop(LATEST, None)
        notes: dict[str, VersionNote] = {}
        for one in told.get("versionDetails") or ():
            if one.get("status") == _ONLINE and is_version(str(one["version"])):
                text = await self._text(key, str(one["version"]), int(one.get("gmtModified") or 0))
                notes[text.version] = VersionNote(
                    text.version, text.digest, text.description, text.author, text.created
                )
        if not notes:
            return None
        changed = int(told.get("gmtModified") or 0)
        return Prompt(
            *key,
            versions=tuple(notes[version] for version in highest_first(notes)),
            labels={name: value for name, value in labels.items() if "@" not in name and value in notes},
            bindings={
                AgentVersion.parse(name): value
                for name, value in labels.items()
                if "@" in name and value in notes
            },
            revision=_revision(labels, notes),
            updated=changed / 1000,
        )

    async def read(self, key: PromptKey, note: VersionNote) -> PromptVersion | None:
        """See `PromptRecord.read`."""
        try:
            return await self._text(key, note.version, int(note.created * 1000))
        except BadRequest as error:
            if _is_missing(error):
                return None
            raise

    async def save(
        self, prompt: Prompt, was: Prompt | None, new: PromptVersion | None, concerning: str
    ) -> bool:
        """See `PromptRecord.save`. Raises PromptRejected for what Nacos cannot hold."""
        if new is not None:
            _require_fit(new)
        async with self._locks.hold(f"parley-prompt:{prompt.namespace}:{prompt.name}"):
            now = await self.load(prompt.key)
            if (now.revision if now else None) != (was.revision if was else None):
                return False
            kept = {note.version for note in prompt.versions}
            if was is not None and any(note.version not in kept for note in was.versions):
                raise BadRequest(
                    f"Nacos does not delete one version of a prompt; delete {prompt.name} with all its versions, or keep it"
                )
            if new is not None:
                await self._http.post(_PATH, _form(new))
            if new is None or prompt.labels or prompt.bindings:
                labels = dict(prompt.labels) | {str(who): value for who, value in prompt.bindings.items()}
                form = _query(prompt.key) | {"labels": orjson.dumps(labels).decode()}
                await self._http.put(f"{_PATH}/labels", form)
            return True

    async def drop(self, prompt: Prompt) -> bool:
        """See `PromptRecord.drop`."""
        async with self._locks.hold(f"parley-prompt:{prompt.namespace}:{prompt.name}"):
            now = await self.load(prompt.key)
            if now is None or now.revision != prompt.revision:
                return False
            await self._http.delete(_PATH, _query(prompt.key))
            return True

    async def page(
        self, namespace: str, words: Sequence[str], after: PromptKey | None, limit: int
    ) -> Sequence[Prompt]:
        """See `PromptRecord.page`; reads one prompt after the other."""
        found: list[Prompt] = []
        for space in sorted([namespace] if namespace else self._namespaces):
            for name in await self.names(space):
                key = PromptKey(space, name)
                prompt = await self.load(key) if after is None or key > after else None
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
            query = {"namespaceId": namespace, "pageNo": str(number), "pageSize": str(_PAGE)}
            page = await self._http.get(f"{_PATH}/list", query)
            found.update(str(one["promptKey"]) for one in page["pageItems"])
            if number >= int(page["pagesAvailable"]):
                return sorted(found)
            number += 1

    async def _text(self, key: PromptKey, version: str, changed: int) -> PromptVersion:
        known = self._texts.get((key, version, changed))
        if known is not None:
            return known
        told = await self._http.get(f"{_PATH}/version", _query(key) | {"version": version})
        made = _read(key, version, told, changed)
        if len(self._texts) >= 10_000:
            self._texts.clear()
        self._texts[(key, version, changed)] = made
        return made


def _is_missing(error: BadRequest) -> bool:
    return "(404," in str(error)


def _query(key: PromptKey) -> dict[str, str]:
    return {"namespaceId": key.namespace, "promptKey": key.name}


def _require_fit(version: PromptVersion) -> None:
    faults = []
    if not version.version.replace(".", "").isdigit():
        faults.append(Fault("version", "must be three numbers, as 1.2.3, in Nacos's prompt registry"))
    if version.hints:
        faults.append(Fault("hints", "have no place in Nacos's prompt registry; leave them out"))
    if version.author:
        faults.append(Fault("author", "is whom Nacos logs in; leave it out"))
    if faults:
        raise PromptRejected(
            f"Nacos cannot hold the prompt {version.name!r} so; change what is named", tuple(faults)
        )


def _form(version: PromptVersion) -> dict[str, str]:
    variables = [
        {"name": one["name"], "description": one["description"], "defaultValue": one.get("default")}
        for one in version_json(version)["variables"]
    ]
    return _query(PromptKey(version.namespace, version.name)) | {
        "version": version.version,
        "template": version.template,
        "commitMsg": version.description,
        "description": version.description,
        "variables": orjson.dumps(variables).decode(),
    }


def _read(key: PromptKey, version: str, told: Any, changed: int) -> PromptVersion:
    template = str(told.get("template") or "")
    declared = {str(one["name"]): one for one in told.get("variables") or ()}
    names, _ = placeholders(template)
    variables = tuple(
        Variable(
            name,
            str(declared.get(name, {}).get("description") or ""),
            str(declared.get(name, {}).get("defaultValue") or ""),
            declared.get(name, {}).get("defaultValue") is None,
        )
        for name in dict.fromkeys([*(one for one in declared if one in names), *names])
    )
    return with_digest(
        PromptVersion(
            *key,
            version=version,
            template=template,
            variables=variables,
            description=str(told.get("commitMsg") or ""),
            created=changed / 1000,
        )
    )


def _revision(labels: dict[str, str], notes: dict[str, VersionNote]) -> int:
    """A number for what the prompt is now: Nacos counts no changes."""
    told = [sorted(labels.items()), sorted((note.version, note.digest) for note in notes.values())]
    return int.from_bytes(hashlib.sha256(orjson.dumps(told)).digest()[:6])
