"""What a cache tells while a write of ours is under way. The API server here is a fake, for the order in which things arrive."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from parley_operator.kube.client import Kube
from parley_operator.kube.informer import Informer, Key
from parley_operator.kube.kinds import CONFIG_MAP

KEY = Key("n", "a")


class FakeKube:
    """A watch that brings what the test says, when it says so."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    async def page(self, *_: Any, **__: Any) -> tuple[list[dict[str, Any]], str, str]:
        return [config_map("1", "at first")], "", "1"

    async def watch(self, *_: Any, **__: Any) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        while True:
            yield await self.changes.get()
            self.changes.task_done()

    async def brings(self, what: str, obj: dict[str, Any]) -> None:
        """Come back when the cache has taken it."""
        self.changes.put_nowait((what, obj))
        await self.changes.join()


def config_map(version: str, said: str) -> dict[str, Any]:
    meta = {"namespace": "n", "name": "a", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"said": said}}


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[FakeKube, Informer, list[str]]]:
    kube = FakeKube()
    cache = Informer(cast(Kube, kube), CONFIG_MAP, ("n",))
    told: list[str] = []
    running = asyncio.create_task(cache.run())
    try:
        await cache.wait()
        cache.on_change(lambda _, obj: told.append(obj["data"]["said"]))
        yield kube, cache, told
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_what_we_have_written_is_no_news_though_the_watch_is_faster_than_the_answer() -> None:
    async with watched() as (kube, cache, told):
        with cache.writing(KEY):
            await kube.brings("MODIFIED", config_map("2", "ours"))
            cache.wrote(config_map("2", "ours"))
        assert told == []
        await kube.brings("MODIFIED", config_map("3", "theirs"))
        assert told == ["theirs"]


async def test_what_others_change_while_we_write_is_told_when_we_have_written() -> None:
    async with watched() as (kube, cache, told):
        with cache.writing(KEY):
            await kube.brings("MODIFIED", config_map("2", "theirs"))
            assert told == []
            await kube.brings("MODIFIED", config_map("3", "ours"))
            cache.wrote(config_map("3", "ours"))
        assert told == ["theirs"]


async def test_what_is_deleted_while_we_write_is_told() -> None:
    async with watched() as (kube, cache, told):
        with cache.writing(KEY):
            await kube.brings("MODIFIED", config_map("2", "ours"))
            await kube.brings("DELETED", config_map("3", "ours"))
            cache.wrote(config_map("2", "ours"))
        assert told == ["ours"]
        assert cache.get(KEY) is None


async def test_a_write_that_gets_no_answer_is_told_when_the_watch_brings_it() -> None:
    async with watched() as (kube, cache, told):
        with cache.writing(KEY), cache.writing(KEY):
            await kube.brings("MODIFIED", config_map("2", "ours"))
        assert told == ["ours"]
