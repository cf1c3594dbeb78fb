"""Bringing the copy of an agent that another record holds in step with it, inside a transaction.

Whatever is different is changed and logged, each once however many processes keep the same copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from parley_registry.audit import NOBODY, Actor
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.liveness import set_health
from parley_registry.backends.sql.owners import add_shapes, require_unlike, take
from parley_registry.backends.sql.rollouts import drop_rollout, keep_rollout, rollout_of
from parley_registry.backends.sql.rows import entry
from parley_registry.backends.sql.transaction import Transaction, values_of
from parley_registry.entry import Agent, Instance, Key
from parley_registry.errors import NotOwner, VersionConflict
from parley_registry.names import shapes
from parley_registry.record import Stored
from parley_registry.rollout import Rollout, content_text

_CLAIMED = 60.0
"""Seconds for which a name is kept for who is taking it."""
_FOUND = "found in Nacos"


@dataclass(frozen=True, slots=True)
class Original:
    """A version as the other record holds it; `alive` are its instances and the interfaces that each announced."""

    version: str
    card: bytes
    digest: str
    latest: bool
    alive: tuple[tuple[Instance, bytes], ...]


def mirror(
    db: Transaction,
    agent: Agent,
    originals: Sequence[Original],
    rollout: Rollout,
    since: int,
    by: Actor | None,
) -> bool:
    """Make an agent's copy what `originals` and `rollout` say; False, and nothing done, when it was changed after change
    number `since`, which is older than they are.

    `by` is who had it changed through this registry, and becomes the owner if there is none; what others changed (None)
    is noted in the audit trail as found.
    """
    if db.changed_since(agent, since):
        return False
    known = db.one(sql.AGENT, **values_of(agent))
    if known is not None and known.source:
        if not originals:
            return True  # it is kept here alone
        db.do(sql.SET_SOURCE, **values_of(agent), source="")
    found = by is None
    kept = {row.version for row in db.all(sql.VERSIONS, **values_of(agent))}
    latest = next((one.version for one in originals if one.latest), "")
    if originals and known is None:
        owner = by.name if by else _claimer(db, agent)
        db.do(sql.ADD_AGENT, **values_of(agent), latest=latest, source="", owner=owner, now=db.now)
        add_shapes(db, agent)
        db.do(sql.UNCLAIM, namespace=agent.namespace, shapes=sorted(shapes(agent.name)))
    for one in originals:
        _bring(db, agent, one, found=found)
    if originals and known is not None and known.latest != latest:
        db.do(sql.SET_LATEST, **values_of(agent), version=latest, now=db.now)
        db.do(sql.TOUCH, **values_of(agent), version=latest, now=db.now)
        if known.latest:
            db.log("latest", agent, latest)
        if known.latest and found:
            db.audit(NOBODY, "latest", agent, latest, before=known.latest, after=latest, detail=_FOUND)
    for version in sorted(kept - {one.version for one in originals}):
        db.do(sql.DROP_ENTRY, **values_of(agent), version=version)
        db.log("deleted", agent, version)
        if found:
            db.audit(NOBODY, "delete", agent, version, detail=_FOUND)
    if not originals and known is not None:
        drop_rollout(db, agent)
        if found and known.owner:  # whose name it is does not depend on what Nacos loses
            db.do(sql.SET_LATEST, **values_of(agent), version="", now=db.now)
        else:
            db.do(sql.DROP_AGENT, **values_of(agent))
    elif originals:
        if known is not None and by is not None:
            take(db, agent, known.owner, by)
        before = rollout_of(db.connection, agent)
        if before != rollout:
            keep_rollout(db, rollout)
            if found:
                told = {"before": content_text(before), "after": content_text(rollout), "detail": _FOUND}
                db.audit(NOBODY, "rollout", agent, rollout.current, **told)
    return True


def admit(db: Transaction, agent: Agent, actor: Actor) -> None:
    """Refuse who may not change an agent that is about to be changed where it is held; a name that is new there is kept
    free of others meanwhile. Raises NotOwner, VersionConflict."""
    known = db.one(sql.AGENT, **values_of(agent))
    if known is None:
        _claim(db, agent, actor)
    elif known.source:
        raise VersionConflict(
            f"an agent named {agent.name!r} is registered from {known.source}; give this one another name, or delete "
            "that one first"
        )
    else:
        take(db, agent, known.owner, actor)


def _claim(db: Transaction, agent: Agent, actor: Actor) -> None:
    if not actor.name:
        return
    require_unlike(db, agent, actor)
    like = sorted(shapes(agent.name))
    told = {"namespace": agent.namespace, "owner": actor.name}
    if not actor.admin and db.one(sql.CLAIMED, **told, shapes=like, now=db.now):
        raise NotOwner(
            f"{agent.name!r}, or a name that it can be taken for, is being taken by another owner; choose another name"
        )
    for shape in like:
        db.do(sql.CLAIM, **told, shape=shape, until=db.now + _CLAIMED)


def _claimer(db: Transaction, agent: Agent) -> str:
    """Who is taking this name through this registry, which may have ended before it brought the agent over; or ""."""
    like = sorted(shapes(agent.name))
    row = db.one(sql.CLAIMED, namespace=agent.namespace, owner="", shapes=like, now=db.now)
    return str(row.owner) if row is not None else ""


def _bring(db: Transaction, agent: Agent, one: Original, *, found: bool) -> None:
    key = Key(*agent, one.version)
    told = {"card": one.card, "digest": one.digest, "now": db.now}
    before = entry(db.connection, key)
    if before is None or before.card != one.card:
        db.do(sql.REPLACE_CARD if before else sql.ADD_ENTRY, **values_of(key), **told)
        db.log("published", agent, one.version)
        if found:
            was = before.digest if before else ""
            db.audit(NOBODY, "publish", agent, one.version, before=was, after=one.digest, detail=_FOUND)
    _bring_instances(db, key, before, one)


def _bring_instances(db: Transaction, key: Key, before: Stored | None, one: Original) -> None:
    there = {
        row.id: (row.url, bytes(row.interfaces)) for row in db.all(sql.INSTANCES_OF_ENTRY, **values_of(key))
    }
    alive = {instance.id: (instance.url, interfaces) for instance, interfaces in one.alive}
    for id_ in sorted(there.keys() - alive.keys()):
        db.all(sql.WITHDRAW, **values_of(key), id=id_)
    for id_, (url, interfaces) in sorted(alive.items()):
        if there.get(id_) != (url, interfaces):
            db.do(sql.ANNOUNCE, **values_of(key), id=id_, url=url, interfaces=interfaces, now=db.now)
    # One that never had an instance as far as is known here may be reachable all the same.
    if alive or there or (before is not None and before.health == "up"):
        set_health(db, key, "up" if alive else "down")
