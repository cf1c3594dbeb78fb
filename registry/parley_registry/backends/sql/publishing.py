"""What becomes of agents and their versions, inside a transaction."""

from parley_registry.audit import Actor
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.liveness import set_health
from parley_registry.backends.sql.owners import add_shapes, require_unlike, take
from parley_registry.backends.sql.rollouts import drop_rollout, rollout_of
from parley_registry.backends.sql.rows import entry
from parley_registry.backends.sql.transaction import Transaction, values_of
from parley_registry.card import CheckedCard
from parley_registry.entry import Agent, Instance, Key
from parley_registry.errors import LatestInUse, VersionConflict, VersionInUse
from parley_registry.record import Published, Stored
from parley_registry.versions import becomes_latest


def publish(
    db: Transaction,
    checked: CheckedCard,
    namespace: str,
    instance: Instance | None,
    source: str,
    actor: Actor,
) -> Published:
    """See `Record.publish`."""
    key = Key(namespace, checked.card.name, checked.card.version)
    agent = db.one(sql.AGENT, **values_of(key.agent))
    if agent is not None:
        take(db, key.agent, agent.owner, actor)
        if not agent.latest:
            db.do(sql.SET_SOURCE, **values_of(key.agent), source=source)
        elif agent.source != source:
            raise _owned_elsewhere(key.name, agent.source)
    known = entry(db.connection, key)
    who = source or (instance.id if instance else "")
    if known is None:
        others = [row.version for row in db.all(sql.VERSIONS, **values_of(key.agent))]
        newest = becomes_latest(key.version, others) or bool(source)
        if agent is None:
            require_unlike(db, key.agent, actor)
            db.do(
                sql.ADD_AGENT,
                **values_of(key.agent),
                latest=key.version,
                source=source,
                owner=actor.name,
                now=db.now,
            )
            add_shapes(db, key.agent)
        elif newest:
            db.do(sql.SET_LATEST, **values_of(key), now=db.now)
        db.do(sql.ADD_ENTRY, **values_of(key), card=checked.json, digest=checked.digest, now=db.now)
        db.log("published", key.agent, key.version)
        if newest and agent is not None and agent.latest:
            db.log("latest", key.agent, key.version)
        db.audit(actor, "publish", key.agent, key.version, after=checked.digest, detail=who)
    else:
        if known.digest != checked.digest and not source:
            raise VersionConflict(
                f"{key.name} {key.version} is already published with another card; a published version does not "
                "change: raise the card's version and publish that"
            )
        if known.card != checked.json:
            db.do(sql.REPLACE_CARD, **values_of(key), card=checked.json, digest=checked.digest, now=db.now)
            db.log("published", key.agent, key.version)
            db.audit(
                actor,
                "publish",
                key.agent,
                key.version,
                before=known.digest,
                after=checked.digest,
                detail=who,
            )
        if source and not known.latest:
            db.do(sql.SET_LATEST, **values_of(key), now=db.now)
            db.log("latest", key.agent, key.version)
    if instance:
        db.do(
            sql.ANNOUNCE,
            **values_of(key),
            id=instance.id,
            url=instance.url,
            interfaces=checked.interfaces,
            now=db.now,
        )
    if instance or source:
        set_health(db, key, "up")
    if source:
        for row in db.all(sql.VERSIONS, **values_of(key.agent)):
            if row.version != key.version:
                set_health(db, Key(*key.agent, row.version), "down")
    kept = entry(db.connection, key)
    assert kept is not None
    return Published(kept, known is None)


def set_latest(db: Transaction, key: Key, actor: Actor) -> Stored | None:
    """See `Record.set_latest`."""
    known = entry(db.connection, key)
    if known is None:
        return None
    agent = db.one(sql.AGENT, **values_of(key.agent))
    assert agent is not None
    take(db, key.agent, agent.owner, actor)
    if known.latest:
        return known
    db.do(sql.SET_LATEST, **values_of(key), now=db.now)
    db.do(sql.TOUCH, **values_of(key), now=db.now)
    db.log("latest", key.agent, key.version)
    db.audit(actor, "latest", key.agent, key.version, before=agent.latest, after=key.version)
    return entry(db.connection, key)


def delete(db: Transaction, agent: Agent, version: str | None, actor: Actor) -> bool:
    """See `Record.delete`."""
    known = db.one(sql.AGENT, **values_of(agent))
    kept = [row.version for row in db.all(sql.VERSIONS, **values_of(agent))]
    going = kept if version is None else [one for one in kept if one == version]
    if known is None or not going:
        return False
    take(db, agent, known.owner, actor)
    if version is not None:
        _require_unused(db, Key(*agent, version), is_latest=version == known.latest, others=len(kept) > 1)
    for one in going:
        gone = db.one(sql.DROP_ENTRY, **values_of(agent), version=one)
        assert gone is not None
        db.log("deleted", agent, one)
        db.audit(actor, "delete", agent, one, before=gone.digest)
    if len(going) == len(kept):
        drop_rollout(db, agent)
        db.do(sql.DROP_AGENT, **values_of(agent))
    return True


def _require_unused(db: Transaction, key: Key, *, is_latest: bool, others: bool) -> None:
    if is_latest and others:
        raise LatestInUse(
            f"{key.version} is the latest version of {key.name} and others exist; set another one as latest first, "
            "or delete the agent with all its versions"
        )
    for one in rollout_of(db.connection, key.agent).versions:
        if one.version == key.version and one.weight > 0:
            raise VersionInUse(
                f"{key.version} gets {one.weight:g} % of the new contexts of {key.name}; take its weight away in the "
                "rollout table first"
            )
    if db.one(sql.HAS_INSTANCES, **values_of(key)):
        raise VersionInUse(
            f"{key.version} of {key.name} has running instances; stop them first, or delete the agent with all its versions"
        )


def _owned_elsewhere(name: str, source: str) -> VersionConflict:
    where = f"is registered from {source}" if source else "is published by its own host"
    return VersionConflict(
        f"an agent named {name!r} {where}; give this one another name, or delete that one first"
    )
