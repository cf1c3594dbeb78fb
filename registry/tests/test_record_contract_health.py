"""What every backend of the record promises of instances, their health, and external agents."""

import asyncio
import time

import pytest
from record_backend import AT_1, AT_2, CODER, PUBLIC, Backend, coder, publish, told

from parley_registry.entry import Agent, Health
from parley_registry.errors import VersionConflict
from parley_registry.record import Record, Source

SOURCE = Source(PUBLIC, "http://127.0.0.1:1/card.json")


async def test_an_entry_is_up_while_an_instance_lives(record: Record) -> None:
    await publish(record)
    assert await health(record) == "unknown"
    await publish(record, instance=AT_1)
    entry = (await publish(record, instance=AT_2)).entry
    assert (entry.health, entry.instances) == ("up", (AT_1, AT_2))
    await record.withdraw(coder(), AT_1.id)
    assert await health(record) == "up"
    await record.withdraw(coder(), AT_2.id)
    await record.withdraw(coder(), AT_2.id)
    assert await health(record) == "down"
    assert await told(record) == [("published", "1.0.0"), ("up", "1.0.0"), ("down", "1.0.0")]


async def test_an_instance_that_comes_again_is_the_same_one(record: Record) -> None:
    await publish(record, instance=AT_1)
    entry = (await publish(record, instance=AT_1)).entry
    assert entry.instances == (AT_1,)
    assert len(entry.interfaces) == 1
    assert await told(record) == [("published", "1.0.0"), ("up", "1.0.0")]


async def test_who_falls_silent_is_forgotten_and_who_beats_is_not(record: Record) -> None:
    await publish(record, instance=AT_1)
    await publish(record, "other", instance=AT_1)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert await record.heartbeat(coder(), AT_1.id)
        await record.expire(1.0)
        await asyncio.sleep(0.05)
    assert await health(record) == "up"
    assert await health(record, "other") == "down"
    assert await record.heartbeat(coder(), AT_1.id)
    assert await record.expire(1.0) == 0


async def test_a_heartbeat_of_nobody_is_not_known(record: Record) -> None:
    assert not await record.heartbeat(coder(), AT_1.id)
    await publish(record, instance=AT_1)
    beats = (record.heartbeat(coder(), name) for name in (AT_1.id, "nobody", AT_1.id))
    assert await asyncio.gather(*beats) == [True, False, True]


async def test_two_who_expire_at_once_tell_it_once(backend: Backend) -> None:
    here, there = await backend.open(), await backend.open()
    for number in range(10):
        await publish(here, f"agent-{number}", instance=AT_1)
    await asyncio.sleep(0.2)
    gone = await asyncio.gather(here.expire(0.1), there.expire(0.1), here.expire(0.1))
    assert sum(gone) == 10
    assert [kind for kind, _ in await told(here)].count("down") == 10


async def test_a_source_says_what_its_agent_is(record: Record) -> None:
    await publish(record, version="2.0.0", source=SOURCE.url)
    await publish(record, version="1.0.0", source=SOURCE.url)
    versions = {one.version: (one.latest, one.health) for one in await record.versions(CODER)}
    assert versions == {"2.0.0": (False, "down"), "1.0.0": (True, "up")}, "what it shows now counts"
    entry = (await publish(record, version="1.0.0", source=SOURCE.url, description="other")).entry
    assert b"other" in entry.card, "a source may change its own"


async def test_a_name_belongs_to_its_source_or_to_its_hosts(record: Record) -> None:
    await publish(record, source=SOURCE.url)
    with pytest.raises(VersionConflict, match=f"registered from {SOURCE.url}"):
        await publish(record, version="3.0.0")
    await publish(record, "hosted")
    with pytest.raises(VersionConflict, match="published by its own host"):
        await publish(record, "hosted", source=SOURCE.url)


async def test_a_look_at_a_source_marks_its_agent(record: Record) -> None:
    await publish(record, source=SOURCE.url)
    await record.mark_source(SOURCE, "down")
    assert await health(record) == "down"
    await record.mark_source(SOURCE, "up")
    await record.mark_source(SOURCE, "up")
    assert await health(record) == "up"
    assert [kind for kind, _ in await told(record)] == ["published", "up", "down", "up"]


async def test_a_source_is_given_to_one_looker_at_a_time(backend: Backend) -> None:
    here, there = await backend.open(), await backend.open()
    await publish(here, source=SOURCE.url)
    await publish(here, "other", source=f"{SOURCE.url}?2")
    claims = await asyncio.gather(*(one.claim_sources(60, 1) for one in (here, there, here, there)))
    assert sorted(one.url for claim in claims for one in claim) == [SOURCE.url, f"{SOURCE.url}?2"]
    assert await here.claim_sources(60, 8) == []


async def health(record: Record, name: str = "coder") -> Health:
    entry = await record.latest(Agent(PUBLIC, name))
    assert entry is not None
    return entry.health
