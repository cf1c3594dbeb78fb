"""The copy of what Nacos holds, without Nacos: what it says after a process ended in the middle, and by a wrong clock."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from registry_service import card_json

from parley_registry.audit import Actor
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.backends.sql.mirroring import Original
from parley_registry.card import check_card
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner
from parley_registry.rollout import Rollout

CODER = Agent("public", "coder")
ANN, BOB = Actor("ann", "127.0.0.1"), Actor("bob", "127.0.0.1")


@pytest.fixture(params=["sqlite", "postgres"])
async def copy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlMirror]:
    sqlite = request.param == "sqlite"
    mirror = SqlMirror(f"sqlite:///{tmp_path}/copy.db" if sqlite else request.getfixturevalue("postgres_dsn"))
    await mirror.open()
    yield mirror
    await mirror.close()


async def test_an_agent_is_its_publishers_though_the_registry_ended_before_it_was_copied(
    copy: SqlMirror,
) -> None:
    await copy.admit(CODER, ANN)  # then it is written to Nacos, and the process is killed
    await copy.mirror(CODER, [original()], Rollout(*CODER), since=await copy.last_change())
    entry = await copy.latest(CODER)
    assert entry is not None
    assert entry.owner == "ann"
    with pytest.raises(NotOwner):
        await copy.admit(CODER, BOB)


async def test_what_others_put_into_nacos_is_nobodys(copy: SqlMirror) -> None:
    await copy.mirror(CODER, [original()], Rollout(*CODER), since=await copy.last_change())
    entry = await copy.latest(CODER)
    assert entry is not None
    assert entry.owner == ""
    await copy.admit(CODER, BOB)


async def test_a_clock_that_was_ahead_does_not_make_the_copy_look_fresh(copy: SqlMirror) -> None:
    await copy.set_synced("public", time.time() + 86400)
    assert await copy.synced("public") == 0.0
    now = time.time()
    await copy.set_synced("public", now)
    assert await copy.synced("public") == now
    await copy.set_synced("public", now - 5)
    assert await copy.synced("public") == now


def original() -> Original:
    checked = check_card(card_json())
    return Original("1.0.0", checked.json, checked.digest, True, ())
