"""What every backend of the record promises of agents and their versions (`parley_registry/record.py`)."""

import pytest
from record_backend import AT_1, CODER, OTHER, PUBLIC, TEAM_B, Backend, coder, log, publish, told

from parley_registry.entry import Agent, Key
from parley_registry.errors import LatestInUse, VersionConflict, VersionInUse
from parley_registry.record import Record
from parley_registry.rollout import Rollout, RolloutVersion
from parley_registry.shown import shown_card


async def test_what_is_published_is_there_and_new_only_once(record: Record) -> None:
    first = await publish(record)
    again = await publish(record)
    assert (first.created, again.created) == (True, False)
    assert first.entry == again.entry == await record.latest(CODER)
    assert (first.entry.key, first.entry.latest, first.entry.health) == (coder(), True, "unknown")
    assert await told(record) == [("published", "1.0.0")]


async def test_a_version_is_never_another_card(record: Record) -> None:
    kept = (await publish(record)).entry
    with pytest.raises(VersionConflict, match="raise the card's version"):
        await publish(record, description="another")
    assert await record.latest(CODER) == kept
    assert await told(record) == [("published", "1.0.0")]


async def test_a_version_may_move_to_another_address(record: Record) -> None:
    await publish(record, instance=AT_1)
    moved = [{"url": "http://127.0.0.1:7/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    entry = (await publish(record, instance=AT_1, supportedInterfaces=moved)).entry
    assert shown_card(entry)["supportedInterfaces"] == moved
    assert await record.latest(CODER) == entry


async def test_the_highest_release_is_latest_until_told_otherwise(record: Record) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"):
        await publish(record, version=version)
    assert await latest(record) == "1.10.0"
    rolled_back = await record.set_latest(coder("1.9.0"))
    assert rolled_back is not None
    assert rolled_back.latest
    await publish(record, version="1.9.5")
    assert await latest(record) == "1.9.0"
    await publish(record, version="1.10.1")
    assert await latest(record) == "1.10.1"
    assert [kind for kind in await told(record) if kind[0] == "latest"] == [
        ("latest", "1.10.0"),
        ("latest", "1.9.0"),
        ("latest", "1.10.1"),
    ]


async def test_setting_the_latest_that_is_latest_changes_nothing(record: Record) -> None:
    await publish(record)
    assert await record.set_latest(coder()) == await record.latest(CODER)
    assert await record.set_latest(coder("9.0.0")) is None
    assert await told(record) == [("published", "1.0.0")]


async def test_a_deleted_version_is_gone_and_the_log_says_so(record: Record) -> None:
    await publish(record, version="1.0.0")
    await publish(record, version="1.1.0")
    assert await record.delete(CODER, "1.0.0")
    assert not await record.delete(CODER, "1.0.0")
    assert [one.version for one in await record.versions(CODER)] == ["1.1.0"]
    assert (await told(record))[-1] == ("deleted", "1.0.0")


async def test_the_latest_cannot_be_deleted_while_others_exist(record: Record) -> None:
    await publish(record, version="1.0.0")
    await publish(record, version="1.1.0")
    with pytest.raises(LatestInUse, match=r"1\.1\.0"):
        await record.delete(CODER, "1.1.0")
    await record.set_latest(coder("1.0.0"))
    assert await record.delete(CODER, "1.1.0")
    assert await record.delete(CODER, "1.0.0"), "the last version may go"
    assert await record.latest(CODER) is None


async def test_a_version_that_runs_cannot_be_deleted(record: Record) -> None:
    await publish(record, version="1.0.0", instance=AT_1)
    await publish(record, version="1.1.0")
    with pytest.raises(VersionInUse, match="running instances"):
        await record.delete(CODER, "1.0.0")
    await record.withdraw(coder(), AT_1.id)
    assert await record.delete(CODER, "1.0.0")


async def test_a_version_with_a_weight_cannot_be_deleted(record: Record) -> None:
    await publish(record, version="1.0.0")
    await publish(record, version="1.1.0")
    table = Rollout(*CODER, (RolloutVersion("1.0.0", "Ramping", 10), RolloutVersion("1.1.0", "Current", 90)))
    kept = await record.set_rollout(table, 0)
    with pytest.raises(VersionInUse, match="10 %"):
        await record.delete(CODER, "1.0.0")
    done = Rollout(*CODER, (RolloutVersion("1.0.0", "Drained"), RolloutVersion("1.1.0", "Current", 100)))
    await record.set_rollout(done, kept.revision)
    assert await record.delete(CODER, "1.0.0")


async def test_an_agent_goes_with_all_that_belongs_to_it(record: Record) -> None:
    await publish(record, version="1.0.0", instance=AT_1)
    await publish(record, version="1.1.0")
    await record.set_rollout(Rollout(*CODER, (RolloutVersion("1.0.0", "Current", 100),)), 0)
    assert await record.delete(CODER, None)
    assert not await record.delete(CODER, None)
    assert await record.versions(CODER) == []
    assert await record.rollout(CODER) == Rollout(*CODER)
    assert {("deleted", "1.0.0"), ("deleted", "1.1.0")} <= set(await told(record))
    assert not await record.heartbeat(coder(), AT_1.id)


async def test_namespaces_share_nothing_but_the_log(record: Record) -> None:
    await publish(record)
    await publish(record, namespace=TEAM_B, description="theirs")
    assert await record.delete(CODER, None)
    theirs = await record.latest(Agent(TEAM_B, "coder"))
    assert theirs is not None
    assert b"theirs" in theirs.card
    assert [change.namespace for change in await log(record)] == [PUBLIC, TEAM_B, PUBLIC]


async def test_names_may_be_any_text(record: Record) -> None:
    for name in ("größe #1", "Recipe Agent", "50% off?", "查找食谱", "O'Hara; DROP TABLE agents"):
        await publish(record, name)
        assert (await record.load([Key(PUBLIC, name, "1.0.0")]))[0].name == name


async def test_pages_show_everything_once(record: Record) -> None:
    for number in range(7):
        await publish(record, f"agent-{number}", instance=AT_1 if number % 2 else None)
        await publish(record, f"agent-{number}", "2.0.0+build.1", namespace=OTHER)
    seen: list[Key] = []
    page = await record.page(None, 3)
    while page:
        assert len(page) <= 3
        seen += [entry.key for entry in page]
        assert all(bool(entry.instances) == (entry.health == "up") for entry in page)
        page = await record.page(seen[-1], 3)
    assert len(seen) == len(set(seen)) == 14
    assert {entry.key for entry in await record.load([*seen, Key(PUBLIC, "nobody", "1.0.0")])} == set(seen)


async def test_several_services_share_a_record(backend: Backend) -> None:
    here, there = await backend.open(), await backend.open()
    await publish(here, instance=AT_1)
    seen = await there.latest(CODER)
    assert seen is not None
    assert seen.instances == (AT_1,)
    assert await there.heartbeat(coder(), AT_1.id)
    await there.set_rollout(Rollout(*CODER, (RolloutVersion("1.0.0", "Current", 100),)), 0)
    assert (await here.rollout(CODER)).current == "1.0.0"
    assert await here.last_change() == await there.last_change() == 3


async def latest(record: Record) -> str:
    entry = await record.latest(CODER)
    assert entry is not None
    return entry.version
