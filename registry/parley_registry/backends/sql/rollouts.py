"""Rollout tables, inside a transaction."""

from dataclasses import replace

import orjson
from sqlalchemy import Connection

from parley_registry.audit import Actor
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.owners import take
from parley_registry.backends.sql.transaction import Transaction, values_of
from parley_registry.entry import Agent
from parley_registry.errors import RolloutConflict
from parley_registry.rollout import Rollout, check_rollout, content_text, rollout_from, same_content


def rollout_of(connection: Connection, agent: Agent) -> Rollout:
    """See `Record.rollout`."""
    row = connection.execute(sql.ROLLOUT, values_of(agent)).fetchone()
    if row is None:
        return Rollout(*agent)
    return rollout_from(*agent, orjson.loads(bytes(row.content)), row.revision)


def set_rollout(db: Transaction, rollout: Rollout, expected: int, actor: Actor) -> Rollout:
    """See `Record.set_rollout`."""
    agent = db.one(sql.AGENT, **values_of(rollout.agent))
    if agent is not None:
        take(db, rollout.agent, agent.owner, actor)
    known = [row.version for row in db.all(sql.VERSIONS, **values_of(rollout.agent))]
    before = rollout_of(db.connection, rollout.agent)
    if before.revision != expected:
        raise RolloutConflict(
            f"the rollout table of {rollout.name} is at revision {before.revision}, not {expected}: somebody changed it; "
            "read it again before you change it"
        )
    check_rollout(rollout, known)
    if same_content(before, rollout):
        return before
    kept = replace(rollout, revision=db.seq + 1)
    keep_rollout(db, kept)
    db.audit(
        actor,
        "rollout",
        kept.agent,
        kept.current,
        before=content_text(before),
        after=content_text(kept),
    )
    return kept


def keep_rollout(db: Transaction, rollout: Rollout) -> None:
    """Keep a table as it is, with its revision."""
    db.log("rollout", rollout.agent, rollout.current)
    content = content_text(rollout).encode()
    db.do(sql.SET_ROLLOUT, **values_of(rollout.agent), revision=rollout.revision, content=content)


def drop_rollout(db: Transaction, agent: Agent) -> None:
    """Forget the table of an agent that goes."""
    if db.one(sql.DROP_ROLLOUT, **values_of(agent)) is not None:
        db.log("rollout", agent, "")
