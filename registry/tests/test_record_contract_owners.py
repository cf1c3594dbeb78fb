"""What every backend of the record promises of owners and the audit trail."""

import pytest
from record_backend import AT_1, CODER, PUBLIC, coder, publish

from parley_registry.audit import NOBODY, Actor
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner
from parley_registry.record import Record
from parley_registry.rollout import Rollout, RolloutVersion

ANN, BOB = Actor("ann", "10.0.0.1"), Actor("bob", "10.0.0.2")
ADMIN = Actor("root", "10.0.0.3", admin=True)
TABLE = Rollout(*CODER, (RolloutVersion("1.0.0", "Current", 100),))


async def test_an_agent_belongs_to_who_published_it_first(record: Record) -> None:
    assert (await publish(record, actor=ANN)).entry.owner == "ann"
    await publish(record, version="1.1.0", actor=ANN)
    for refused in (
        publish(record, version="2.0.0", actor=BOB),
        publish(record, actor=BOB),
        record.set_latest(coder(), actor=BOB),
        record.delete(CODER, "1.0.0", actor=BOB),
        record.delete(CODER, None, actor=BOB),
        record.set_rollout(TABLE, 0, actor=BOB),
        record.set_owner(CODER, "bob", actor=BOB),
    ):
        with pytest.raises(NotOwner, match="another owner"):
            await refused
    assert [one.version for one in await record.versions(CODER)] == ["1.0.0", "1.1.0"]
    assert await record.rollout(CODER) == Rollout(*CODER)


async def test_an_admin_and_who_needs_no_name_may_change_what_others_own(record: Record) -> None:
    await publish(record, actor=ANN)
    assert (await publish(record, version="1.1.0", actor=ADMIN)).entry.owner == "ann"
    assert (await publish(record, version="1.2.0", actor=NOBODY)).entry.owner == "ann"


async def test_what_nobody_owns_is_taken_by_the_first_with_a_name(record: Record) -> None:
    assert (await publish(record)).entry.owner == ""
    await publish(record, actor=ANN, instance=AT_1)
    with pytest.raises(NotOwner):
        await publish(record, version="2.0.0", actor=BOB)


async def test_an_agent_can_be_handed_over(record: Record) -> None:
    await publish(record, actor=ANN)
    assert await record.set_owner(CODER, "bob", actor=ANN)
    assert (await publish(record, version="2.0.0", actor=BOB)).entry.owner == "bob"
    assert not await record.set_owner(Agent(PUBLIC, "nobody"), "bob", actor=ADMIN)


async def test_the_trail_says_who_changed_what(record: Record) -> None:
    first = (await publish(record, actor=ANN)).entry
    await publish(record, version="1.1.0", actor=ANN, instance=AT_1)
    await publish(record, version="1.1.0", actor=ANN, instance=AT_1)
    await record.set_latest(coder("1.0.0"), actor=ADMIN)
    await record.set_rollout(TABLE, 0, actor=ANN)
    await publish(record, "other", actor=BOB)
    await record.note(BOB, "refused", CODER, detail="not the owner")
    trail = await record.audit(agent=CODER)
    assert [(one.actor, one.action, one.version) for one in reversed(trail)] == [
        ("ann", "publish", "1.0.0"),
        ("ann", "publish", "1.1.0"),
        ("root", "latest", "1.0.0"),
        ("ann", "rollout", "1.0.0"),
        ("bob", "refused", ""),
    ]
    assert (trail[-1].after, trail[-1].remote) == (first.digest, "10.0.0.1")
    assert (trail[2].before, trail[2].after) == ("1.1.0", "1.0.0")
    assert [one.name for one in await record.audit(limit=2)] == ["coder", "other"]
    assert await record.audit(before=trail[-1].seq) == []
    assert trail[0].at >= trail[-1].at > 1e9


async def test_the_trail_outlives_what_it_is_about(record: Record) -> None:
    await publish(record, actor=ANN)
    await record.delete(CODER, None, actor=ANN)
    assert [one.action for one in await record.audit(agent=CODER)] == ["delete", "publish"]
    assert (await publish(record, actor=BOB)).entry.owner == "bob", "a name that was given up is free"
