"""Prompts in the prompt registry of Nacos 3.2, spoken to as its source says: a stand-in answers, for no such server is to be had."""

import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from engines.ports import free_port
from parley_registry.errors import BadRequest, PromptRejected, UnknownPrompt, VersionConflict
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.http import NacosHttp
from parley_registry.prompts.check import check_prompt
from parley_registry.prompts.library import PromptLibrary
from parley_registry.prompts.prompt import AgentVersion, PromptKey, PromptVersion
from parley_registry.prompts.records.nacos_api import NacosApiPrompts

KEY = PromptKey("team-a", "review")


class StandInNacos32:
    """The prompt registry of Nacos 3.2 as its controller and service are written, in memory, without users."""

    def __init__(self) -> None:
        self.prompts: dict[str, dict[str, Any]] = {}
        base = "/nacos/v3/admin/ai/prompt"
        self.app = Starlette(
            routes=[
                Route(f"{base}/list", self.list_, methods=["GET"]),
                Route(f"{base}/governance", self.governance, methods=["GET"]),
                Route(f"{base}/version", self.version, methods=["GET"]),
                Route(f"{base}/labels", self.labels, methods=["PUT"]),
                Route(base, self.publish, methods=["POST"]),
                Route(base, self.delete, methods=["DELETE"]),
            ]
        )

    async def list_(self, request: Request) -> JSONResponse:
        items = [{"promptKey": name, "description": one["description"]} for name, one in self.prompts.items()]
        return _ok({"totalCount": len(items), "pageNumber": 1, "pagesAvailable": 1, "pageItems": items})

    async def governance(self, request: Request) -> JSONResponse:
        one = self.prompts.get(request.query_params["promptKey"])
        if one is None:
            return _not_found()
        details = [
            {"version": v["version"], "status": "online", "commitMsg": v["commitMsg"], "gmtModified": v["at"]}
            for v in one["versions"].values()
        ]
        return _ok({"labels": one["labels"], "gmtModified": one["at"], "versionDetails": details})

    async def version(self, request: Request) -> JSONResponse:
        one = self.prompts.get(request.query_params["promptKey"], {"versions": {}})
        found = one["versions"].get(request.query_params["version"])
        return _ok(found | {"md5": "x", "status": "online"}) if found else _not_found()

    async def labels(self, request: Request) -> JSONResponse:
        form = await _form(request)
        one = self.prompts[form["promptKey"]]
        wanted = json.loads(form["labels"])
        if any(version not in one["versions"] for version in wanted.values()):
            return _refused("a label points to a version that is not online")
        one["labels"] = wanted | {"latest": one["labels"]["latest"]}
        return _ok("ok")

    async def publish(self, request: Request) -> JSONResponse:
        form = await _form(request)
        one = self.prompts.setdefault(
            form["promptKey"], {"versions": {}, "labels": {}, "description": form["description"], "at": 1000}
        )
        if form["version"] in one["versions"]:
            return _refused("Prompt version already exists")
        variables = json.loads(form["variables"])
        one["versions"][form["version"]] = {
            **{name: form[name] for name in ("promptKey", "version", "template", "commitMsg")},
            "variables": variables,
            "at": 1000 + len(one["versions"]),
        }
        one["labels"]["latest"] = form["version"]
        return _ok(True)

    async def delete(self, request: Request) -> JSONResponse:
        self.prompts.pop(request.query_params["promptKey"], None)
        return _ok(True)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def _ok(data: Any) -> JSONResponse:
    return JSONResponse({"code": 0, "message": "success", "data": data})


def _not_found() -> JSONResponse:
    return JSONResponse({"code": 20004, "message": "resource not found", "data": "Prompt not found"}, 404)


def _refused(why: str) -> JSONResponse:
    return JSONResponse({"code": 20002, "message": "parameter validate error", "data": why}, 400)


class NoLocks:
    """Locks of one process that is alone."""

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        yield


@pytest.fixture
def address() -> Iterator[NacosAddress]:
    port = free_port()
    config = uvicorn.Config(StandInNacos32().app, host="127.0.0.1", port=port, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield NacosAddress.parse(f"nacos://127.0.0.1:{port}/team-a")
    server.should_exit = True
    thread.join(10)


@pytest.fixture
async def record(address: NacosAddress) -> AsyncIterator[NacosApiPrompts]:
    http = NacosHttp(address)
    yield NacosApiPrompts(http, NoLocks(), address.namespaces)
    await http.aclose()


def made(version: str, template: str = "Review {{language}} as {{role}}.", **more: Any) -> PromptVersion:
    told = {"namespace": "team-a", "name": "review", "version": version, "template": template, **more}
    return check_prompt(told, now=1.5)[0]


async def test_versions_labels_and_bindings_are_kept_there(record: NacosApiPrompts) -> None:
    assert await record.there()
    library = PromptLibrary(record)
    first = made("1.2.0", variables=[{"name": "role", "default": "a critic"}], description="Reviews")
    assert (await library.push(first, ["production"])).created
    assert not (await library.push(first)).created
    with pytest.raises(VersionConflict):
        await library.push(made("1.2.0", "Other."))
    await library.push(made("1.3.0", "Judge {{language}}."))
    who = AgentVersion("coder", "2.0.0")
    await library.bind(KEY, who, "1.3.0")
    await library.label(KEY, "staging", "1.3.0")

    prompt = await library.get(KEY)
    assert prompt.labels == {"production": "1.2.0", "staging": "1.3.0"}
    assert (prompt.chosen(), prompt.chosen(agent=who), prompt.latest) == ("1.2.0", "1.3.0", "1.3.0")
    kept = await library.version(KEY, "1.2.0")
    assert (kept.digest, kept.description) == (first.digest, "Reviews")
    assert kept.render(language="Go") == "Review Go as a critic."
    assert [one.name for one in (await library.list("team-a", "judge")).prompts] == []
    assert [one.name for one in (await library.list("team-a")).prompts] == ["review"]

    await library.unbind(KEY, who)
    assert (await library.get(KEY)).bindings == {}
    await library.delete(KEY)
    with pytest.raises(UnknownPrompt):
        await library.get(KEY)


async def test_what_it_cannot_hold_is_refused_with_every_fault(record: NacosApiPrompts) -> None:
    library = PromptLibrary(record)
    with pytest.raises(PromptRejected) as refused:
        await library.push(made("1.0.0-rc.1", hints={"model": "m"}, author="ana"))
    assert [fault.field for fault in refused.value.faults] == ["version", "hints", "author"]
    await library.push(made("1.0.0"))
    await library.push(made("1.1.0"))
    with pytest.raises(BadRequest, match="with all its versions"):
        await library.delete(KEY, "1.0.0")
