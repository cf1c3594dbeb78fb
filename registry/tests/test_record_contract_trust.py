"""What every backend of the record promises of names that look alike, of the trail's filters, and of changed keys."""

import asyncio

import pytest
from record_backend import AT_1, CODER, PUBLIC, TEAM_B, coder, publish

from parley_registry.audit import NOBODY, Actor
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner
from parley_registry.record import Record

ANN, BOB = Actor("ann"), Actor("bob")
ADMIN = Actor("root", admin=True)


async def test_a_name_that_can_be_taken_for_anothers_is_refused(record: Record) -> None:
    await publish(record, "coder", actor=ANN)
    for name in ("Coder", "c0der", "c\u043eder"):
        with pytest.raises(NotOwner, match="can be taken for 'coder'"):
            await publish(record, name, actor=BOB)
    for name, who in (("Coder", ANN), ("c0der", ADMIN), ("decoder", BOB), ("C\u043eder", NOBODY)):
        await publish(record, name, actor=who)
    with pytest.raises(
        NotOwner, match="can be taken for"
    ):  # it belonged to nobody, and is no more free than others
        await publish(record, "C\u043eder", version="2.0.0", actor=BOB)


async def test_a_name_in_another_namespace_is_another_name(record: Record) -> None:
    await publish(record, "coder", actor=ANN)
    assert (await publish(record, "coder", namespace=TEAM_B, actor=BOB)).entry.owner == "bob"


async def test_what_was_deleted_is_taken_for_nothing_any_more(record: Record) -> None:
    await publish(record, "coder", actor=ANN)
    await record.delete(CODER, None, actor=ANN)
    assert (await publish(record, "c0der", actor=BOB)).entry.owner == "bob"


async def test_of_two_who_come_at_once_one_gets_the_name(record: Record) -> None:
    names = ["coder", "c0der", "Coder", "CODER"]
    taken = await asyncio.gather(
        *(publish(record, name, actor=Actor(f"owner-{name}")) for name in names), return_exceptions=True
    )
    assert sorted(isinstance(one, NotOwner) for one in taken) == [False, True, True, True]


async def test_the_trail_can_be_narrowed_down(record: Record) -> None:
    await publish(record, "coder", actor=ANN, instance=AT_1)
    await publish(record, "other", actor=BOB)
    await publish(record, "coder", namespace=TEAM_B, actor=BOB)
    await record.delete(Agent(PUBLIC, "other"), None, actor=BOB)
    assert [one.name for one in await record.audit(by="bob", namespace=PUBLIC)] == ["other", "other"]
    assert [one.namespace for one in await record.audit(namespace=TEAM_B)] == [TEAM_B]
    gone, came = await record.audit(agent=Agent(PUBLIC, "other"))
    assert (gone.action, gone.before) == ("delete", came.after)
    assert [one.detail for one in await record.audit(by="ann", action="publish")] == [AT_1.id]


async def test_old_lines_of_the_trail_are_dropped(record: Record) -> None:
    await publish(record, actor=ANN)
    assert await record.forget_audited(3600) == 0
    assert await record.forget_audited(-1) == 1
    assert await record.audit() == []


async def test_changed_keys_are_told_to_who_watches(record: Record) -> None:
    await publish(record)
    last = await record.last_change()
    await record.retell([coder()])
    [change] = (await record.changes(last, 10)).changes
    assert (change.kind, change.namespace, change.name, change.version) == (
        "signature",
        *coder(),
    )
