"""Whose prompts and MCP servers are, and who changed what of them: kept in the record's database wherever they are."""

from sqlalchemy import text

from parley_registry.audit import Actor
from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.transaction import Transaction
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner

_ONE = "kind = :kind AND namespace = :namespace AND name = :name"
_OWNER = text(f"SELECT owner FROM things WHERE {_ONE}")
_TAKE = text("INSERT INTO things (kind, namespace, name, owner) VALUES (:kind, :namespace, :name, :owner)")
_GIVE_UP = text(f"DELETE FROM things WHERE {_ONE}")


class SqlThings:
    """Owners of things of one kind, in a database that is open. All calls may raise Unavailable."""

    def __init__(self, database: Database, kind: str) -> None:
        self._database = database
        self._kind = kind

    async def take(self, thing: Agent, actor: Actor) -> bool:
        """Let an actor change a thing: it belongs to the first one with a name who does. Returns whether it came to
        belong to this one just now. Raises NotOwner."""

        def write(db: Transaction) -> bool:
            named = {"kind": self._kind, **thing._asdict()}
            known = db.one(_OWNER, **named)
            if known is None and actor.name:
                db.do(_TAKE, **named, owner=actor.name)
                return True
            if known is not None and actor.name not in ("", known.owner) and not actor.admin:
                raise NotOwner(f"the {self._kind} {thing.name} belongs to another owner; choose another name")
            return False

        return await self._database.write(write)

    async def note(self, thing: Agent, version: str, actor: Actor, detail: str) -> None:
        """Put a change that was made into the trail, as an action called like the kind."""
        await self._database.write(lambda db: db.audit(actor, self._kind, thing, version, detail=detail))

    async def give_up(self, thing: Agent) -> None:
        """Let a thing that is gone belong to nobody."""
        await self._database.write(lambda db: db.do(_GIVE_UP, kind=self._kind, **thing._asdict()))
