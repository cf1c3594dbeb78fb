"""Whose an agent is, inside a transaction."""

from parley_registry.audit import Actor
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.transaction import Transaction, values_of
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner
from parley_registry.names import shapes


def add_shapes(db: Transaction, agent: Agent) -> None:
    """Note what a new agent's name can be taken for."""
    db.connection.execute(
        sql.ADD_SHAPES, [{**values_of(agent), "shape": one} for one in sorted(shapes(agent.name))]
    )


def require_unlike(db: Transaction, agent: Agent, actor: Actor) -> None:
    """Refuse a name that can be taken for one of another owner, unless to an admin. Raises NotOwner."""
    if not actor.name or actor.admin:
        return
    like = db.one(sql.ALIKE, **values_of(agent), shapes=sorted(shapes(agent.name)), owner=actor.name)
    if like is not None:
        raise NotOwner(
            f"{agent.name!r} can be taken for {like.name!r}, which belongs to another owner; choose a name that "
            "nobody mixes up with it"
        )


def take(db: Transaction, agent: Agent, owner: str, actor: Actor) -> None:
    """Refuse who is not the owner; an agent that nobody owns becomes that of the first who says who they are.

    Raises NotOwner.
    """
    if not actor.name or actor.name == owner:
        return
    if not owner:
        require_unlike(db, agent, actor)
        db.do(sql.SET_OWNER, **values_of(agent), owner=actor.name)
        db.audit(actor, "owner", agent, after=actor.name)
    elif not actor.admin:
        raise NotOwner(
            f"{agent.name} belongs to another owner: only they, and admins of the name, may change it, its rollouts too; "
            "have its owner hand it over, or publish an agent of your own under another name"
        )


def set_owner(db: Transaction, agent: Agent, owner: str, actor: Actor) -> bool:
    """See `Record.set_owner`."""
    known = db.one(sql.AGENT, **values_of(agent))
    if known is None:
        return False
    take(db, agent, known.owner, actor)
    if known.owner != owner:
        db.do(sql.SET_OWNER, **values_of(agent), owner=owner)
        db.audit(actor, "owner", agent, before=known.owner, after=owner)
    return True
