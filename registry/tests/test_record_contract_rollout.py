"""What every backend of the record promises of rollout tables."""

import asyncio
from dataclasses import replace

import orjson
import pytest
from record_backend import CODER, PUBLIC, Backend, log, publish

from parley_registry.entry import Agent
from parley_registry.errors import RolloutConflict, RolloutRejected
from parley_registry.record import Record
from parley_registry.rollout import Rollout, RolloutVersion, rollout_from

ALL = Rollout(*CODER, (RolloutVersion("1.0.0", "Current", 100),))
CANARY = Rollout(*CODER, (RolloutVersion("1.0.0", "Current", 99.5), RolloutVersion("1.1.0", "Ramping", 0.5)))


@pytest.fixture(autouse=True)
async def two_versions(record: Record) -> None:
    for version in ("1.0.0", "1.1.0"):
        await publish(record, version=version)


async def test_a_table_is_kept_as_it_was_set(record: Record) -> None:
    assert await record.rollout(CODER) == Rollout(*CODER)
    first = await record.set_rollout(ALL, 0)
    second = await record.set_rollout(CANARY, first.revision)
    assert await record.rollout(CODER) == second
    assert (second.versions, second.revision > first.revision) == (CANARY.versions, True)
    changes = [change for change in await log(record) if change.kind == "rollout"]
    assert [(change.name, change.version) for change in changes] == [("coder", "1.0.0")] * 2


async def test_a_pause_is_part_of_the_table(record: Record) -> None:
    first = await record.set_rollout(CANARY, 0)
    paused = await record.set_rollout(replace(first, paused=True), first.revision)
    assert await record.rollout(CODER) == paused
    assert (paused.paused, paused.revision > first.revision) == (True, True)
    assert await record.set_rollout(paused, paused.revision) == paused, "nothing was changed"
    resumed = await record.set_rollout(replace(paused, paused=False), paused.revision)
    assert await record.rollout(CODER) == resumed == replace(first, revision=resumed.revision)


async def test_the_trail_tells_each_table_before_and_after(record: Record) -> None:
    first = await record.set_rollout(ALL, 0)
    second = await record.set_rollout(replace(CANARY, paused=True), first.revision)
    lines = await record.audit(agent=CODER, action="rollout")
    told = [tuple(_table(text) for text in (line.before, line.after)) for line in lines]
    assert told == [(ALL, replace(second, revision=0)), (Rollout(*CODER), ALL)]


def _table(text: str) -> Rollout:
    return rollout_from(*CODER, orjson.loads(text))


async def test_who_did_not_see_the_last_table_cannot_replace_it(record: Record) -> None:
    kept = await record.set_rollout(ALL, 0)
    for stale in (0, kept.revision - 1, kept.revision + 1):
        with pytest.raises(RolloutConflict, match="read it again"):
            await record.set_rollout(CANARY, stale)
    assert await record.rollout(CODER) == kept


async def test_of_those_who_set_it_at_once_one_does(backend: Backend) -> None:
    records = [await backend.open() for _ in range(3)]
    done = await asyncio.gather(
        *(one.set_rollout(ALL if index % 2 else CANARY, 0) for index, one in enumerate(records * 3)),
        return_exceptions=True,
    )
    kept = [one for one in done if isinstance(one, Rollout)]
    assert [await one.rollout(CODER) for one in records] == [kept[0]] * 3
    assert all(isinstance(one, RolloutConflict) for one in done if one not in kept)


async def test_a_table_that_breaks_the_rules_is_refused_with_every_fault(record: Record) -> None:
    wrong = Rollout(*CODER, (RolloutVersion("1.0.0", "Ramping", 50), RolloutVersion("9.0.0", "Inactive", 20)))
    with pytest.raises(RolloutRejected) as caught:
        await record.set_rollout(wrong, 0)
    assert len(caught.value.faults) == 4
    assert await record.rollout(CODER) == Rollout(*CODER)


async def test_an_agent_that_is_not_there_has_no_versions_to_roll_out(record: Record) -> None:
    nobody = Rollout(PUBLIC, "nobody", ALL.versions)
    with pytest.raises(RolloutRejected, match="not published"):
        await record.set_rollout(nobody, 0)
    assert await record.rollout(Agent(PUBLIC, "nobody")) == Rollout(PUBLIC, "nobody")


async def test_an_empty_table_ends_a_rollout(record: Record) -> None:
    kept = await record.set_rollout(CANARY, 0)
    ended = await record.set_rollout(Rollout(*CODER), kept.revision)
    assert (ended.versions, ended.choose("any")) == ((), "")
    assert await record.rollout(CODER) == ended
