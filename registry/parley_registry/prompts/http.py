"""Prompts in a registry service: `source.PromptSource` over its HTTP API."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from parley_registry.calls import Calls
from parley_registry.entry import PUBLIC
from parley_registry.prompts.prompt import AgentVersion, Prompt, PromptKey, PromptPage, PromptVersion, Pushed
from parley_registry.prompts.source import Wanted
from parley_registry.prompts.wire import read_prompt, read_version, version_json

_PUSHED = ("namespace", "name", "version", "template", "variables", "description", "hints", "author")


class HttpPrompts:
    """See `source.PromptSource`; `RegistryClient.prompts` is one."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def get(self, key: PromptKey) -> Prompt:
        """See `PromptSource.get`."""
        return await self._calls.ask(read_prompt, "GET", _path(key), query=_query(key))

    async def version(self, key: PromptKey, version: str) -> PromptVersion:
        """See `PromptSource.version`."""
        path = f"{_path(key)}/versions/{quote(version, safe='')}"
        return await self._calls.ask(read_version, "GET", path, query=_query(key))

    async def push(self, version: PromptVersion, labels: Sequence[str] = ()) -> Pushed:
        """See `PromptSource.push`."""
        told = version_json(version)
        body = {name: told[name] for name in _PUSHED} | {"labels": list(labels)}
        status, kept = await self._calls.answered(read_version, "POST", "/v1/prompts", body)
        return Pushed(kept, status == 201)

    async def label(self, key: PromptKey, label: str, version: str) -> Prompt:
        """See `PromptSource.label`."""
        return await self._change("PUT", key, f"labels/{quote(label, safe='')}", {"version": version})

    async def unlabel(self, key: PromptKey, label: str) -> Prompt:
        """See `PromptSource.unlabel`."""
        return await self._change("DELETE", key, f"labels/{quote(label, safe='')}")

    async def bind(self, key: PromptKey, agent: AgentVersion, version: str) -> Prompt:
        """See `PromptSource.bind`."""
        return await self._change("PUT", key, "bindings", {"version": version}, _who(agent))

    async def unbind(self, key: PromptKey, agent: AgentVersion) -> Prompt:
        """See `PromptSource.unbind`."""
        return await self._change("DELETE", key, "bindings", None, _who(agent))

    async def delete(self, key: PromptKey, version: str | None = None) -> None:
        """See `PromptSource.delete`."""
        path = _path(key) if version is None else f"{_path(key)}/versions/{quote(version, safe='')}"
        await self._calls.call("DELETE", path, query=_query(key))

    async def list(
        self, namespace: str = "", text: str = "", limit: int = 100, cursor: str = ""
    ) -> PromptPage:
        """See `PromptSource.list`."""
        query = {"namespace": namespace, "text": text, "limit": str(limit), "cursor": cursor}
        return await self._calls.ask(_page, "GET", "/v1/prompts", query={k: v for k, v in query.items() if v})

    async def follow(self, wanted: Wanted) -> AsyncGenerator[PromptKey, None]:
        """See `PromptSource.follow`; over the registry's watch, which tells of a change within 0.2 s."""
        async with aclosing(self._calls.changes(None, {"kind": "prompt"})) as changes:
            async for change in changes:
                if change.kind in ("start", "reset"):
                    for key in wanted.keys:
                        yield key
                elif change.kind == "prompt":
                    key = PromptKey(change.namespace, change.name)
                    if key in wanted.keys:
                        yield key

    async def _change(
        self,
        method: str,
        key: PromptKey,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Prompt:
        return await self._calls.ask(
            read_prompt, method, f"{_path(key)}/{path}", body, query={**_query(key), **(query or {})}
        )


def _page(told: Mapping[str, Any]) -> PromptPage:
    return PromptPage(tuple(read_prompt(one) for one in told["prompts"]), told["next"])


def _path(key: PromptKey) -> str:
    return f"/v1/prompts/{quote(key.name, safe='')}"


def _query(key: PromptKey) -> dict[str, str]:
    return {} if key.namespace == PUBLIC else {"namespace": key.namespace}


def _who(agent: AgentVersion) -> dict[str, str]:
    return {"agent": agent.agent, "agentVersion": agent.version}
