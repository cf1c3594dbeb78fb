"""The watch: every change once and in order, resumed where it broke off, for several at once."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from registry_service import RegistryProcess, RegistryThread, card_json

from parley_registry.backends.sql import SqlRecord
from parley_registry.card import check_card
from parley_registry.client import Change, Instance, RegistryBusy, RegistryClient
from parley_registry.feed import Feed

pytestmark = pytest.mark.processes

HEARTBEATING = """
import asyncio, sys
from a2a.types import AgentCard
from google.protobuf.json_format import Parse
from parley_registry.client import Instance, RegistryClient

async def main():
    async with RegistryClient(sys.argv[1]) as client:
        card = Parse(sys.argv[2], AgentCard())
        await client.publish(card, instance=Instance("only", "http://127.0.0.1:1"))
        print("published", flush=True)
        while True:
            await asyncio.sleep(2)
            await client.heartbeat(card.name, card.version, "only")

asyncio.run(main())
"""


async def test_a_watch_tells_what_happens_in_order(registry: RegistryThread) -> None:
    card = ParseDict(card_json(), AgentCard())
    newer = ParseDict(card_json(version="1.1.0"), AgentCard())
    async with RegistryClient(registry.url) as client:
        await client.publish(card, instance=Instance("a", "http://127.0.0.1:1"))
        await client.publish(newer)
        await client.set_latest("coder", "1.0.0")
        await client.withdraw("coder", "1.0.0", "a")
        await client.delete("coder")
        async with aclosing(client.watch(after=0)) as watch:
            seen = [await anext(watch) for _ in range(8)]
        assert [(change.kind, change.version) for change in seen] == [
            ("published", "1.0.0"),
            ("up", "1.0.0"),
            ("published", "1.1.0"),
            ("latest", "1.1.0"),
            ("latest", "1.0.0"),
            ("down", "1.0.0"),
            ("deleted", "1.0.0"),
            ("deleted", "1.1.0"),
        ]
        assert [change.seq for change in seen] == sorted(change.seq for change in seen)


async def test_a_watch_resumes_over_a_restart_without_gap_or_repeat(tmp_path: Path) -> None:
    store = tmp_path / "registry.db"
    seen: list[Change] = []

    async def watch(client: RegistryClient) -> None:
        async with aclosing(client.watch(after=0)) as changes:
            async for change in changes:
                seen.append(change)

    with RegistryProcess(store) as first:
        async with RegistryClient(first.url) as client:
            watching = asyncio.create_task(watch(client))
            await client.publish(ParseDict(card_json("a"), AgentCard()))
            await until(lambda: len(seen) == 1)
            first.kill()
            with RegistryProcess(store, port=first.port):
                for name in ("b", "c"):
                    await client.publish(ParseDict(card_json(name), AgentCard()))
                await until(lambda: len(seen) == 3)
            watching.cancel()
    assert [change.name for change in seen] == ["a", "b", "c"]


async def test_several_watchers_see_the_same_from_now_on(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        await client.publish(ParseDict(card_json("before"), AgentCard()))
        watches = [client.watch() for _ in range(5)]
        firsts = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await until_watchers(registry, 5)
        await client.publish(ParseDict(card_json("after"), AgentCard()))
        assert {change.name for change in await asyncio.gather(*firsts)} == {"after"}
        for watch in watches:
            await watch.aclose()
        await until_watchers(registry, 0)


async def test_watches_are_bounded(tmp_path: Path) -> None:
    with RegistryThread(tmp_path / "r.db", max_watchers=1) as registry:
        async with httpx.AsyncClient(base_url=registry.url, trust_env=False) as http:
            async with http.stream("GET", "/v1/watch"):
                await until_watchers(registry, 1)
                assert (await http.get("/v1/watch")).status_code == 503


async def test_a_registry_that_stops_does_not_wait_for_its_watchers(tmp_path: Path) -> None:
    with RegistryProcess(tmp_path / "r.db") as registry:
        async with httpx.AsyncClient(base_url=registry.url, trust_env=False) as http:
            async with http.stream("GET", "/v1/watch") as watch:
                lines = watch.aiter_lines()
                assert await anext(lines) == "id: 0"
                began = time.monotonic()
                await asyncio.to_thread(registry.stop)
                assert time.monotonic() - began < 10


async def test_who_missed_too_much_is_told_to_read_again(tmp_path: Path) -> None:
    record = SqlRecord(f"sqlite:///{tmp_path}/r.db", keep=100)
    await record.open()
    try:
        for number in range(300):
            checked = check_card(card_json(f"a{number}"))
            await record.publish(checked, namespace="public", instance=None, source="")
        feed = Feed(record, most=1)
        async with aclosing(feed.follow(10)) as changes:
            assert (await anext(changes)).kind == "start"
            assert await anext(changes) == Change(300, "reset", "", "", "")
            with pytest.raises(RegistryBusy):
                await anext(feed.follow(0))
    finally:
        await record.close()


async def test_a_killed_process_is_shown_as_down_within_ten_seconds_and_the_watch_says_so(
    tmp_path: Path,
) -> None:
    with RegistryProcess(tmp_path / "r.db") as registry:
        agent = heartbeating(registry.url)
        try:
            assert agent.stdout is not None
            assert await asyncio.to_thread(agent.stdout.readline) == b"published\n"
            async with RegistryClient(registry.url) as client:
                await asyncio.sleep(3)
                assert (await client.get("coder")).health == "up"
                async with aclosing(client.watch()) as watch:
                    told = asyncio.ensure_future(anext(watch))
                    await until_watchers(registry, 1)
                    agent.kill()
                    killed = time.monotonic()
                    async with asyncio.timeout(10):
                        change = await told
                    assert (change.kind, change.name) == ("down", "coder")
                    assert (await client.get("coder")).health == "down"
                    assert time.monotonic() - killed < 10
        finally:
            agent.kill()
            agent.wait()


def heartbeating(url: str) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", HEARTBEATING, url, json.dumps(card_json())]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline, "it did not come about within 15 s"
        await asyncio.sleep(0.02)


async def until_watchers(registry: RegistryThread | RegistryProcess, count: int) -> None:
    deadline = time.monotonic() + 15
    async with httpx.AsyncClient(trust_env=False) as http:
        while f"parley_registry_watchers {count}.0" not in (await http.get(f"{registry.url}/metrics")).text:
            assert time.monotonic() < deadline, f"not {count} watchers within 15 s"
            await asyncio.sleep(0.05)
