"""What one change of the record does: statements, the lines it adds to the change log, and to the audit trail."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, TextClause

from parley_registry.audit import Actor, Audited
from parley_registry.backends.sql import statements as sql
from parley_registry.entry import Agent, ChangeKind, Key

_TRIM_EVERY = 256


class Transaction:
    """A `connection` that has its turn to write. `now` is the record's time, in seconds since the epoch; `seq` the number
    of the last change, those of this transaction included."""

    def __init__(self, connection: Connection, now: float, seq: int, audited: int) -> None:
        self.connection = connection
        self.now = now
        self.seq = seq
        self._audited = audited
        self._changes: list[dict[str, Any]] = []
        self._trail: list[dict[str, Any]] = []

    @property
    def changed(self) -> bool:
        """Whether anything was logged."""
        return bool(self._changes)

    def all(self, statement: TextClause, **values: Any) -> Sequence[Row[Any]]:
        """All rows of a statement."""
        return self.connection.execute(statement, values).fetchall()

    def one(self, statement: TextClause, **values: Any) -> Row[Any] | None:
        """The first row of a statement, or None."""
        return self.connection.execute(statement, values).fetchone()

    def do(self, statement: TextClause, **values: Any) -> None:
        """A statement without rows."""
        self.connection.execute(statement, values)

    def changed_since(self, agent: Agent, since: int) -> bool:
        """Whether a change of an agent was logged after that number, be it by this transaction."""
        return any(
            (one["namespace"], one["name"]) == agent for one in self._changes if one["seq"] > since
        ) or bool(self.one(sql.CHANGED_SINCE, **values_of(agent), since=since))

    def log(self, kind: ChangeKind, agent: Agent, version: str) -> None:
        """Append to the change log."""
        self.seq += 1
        self._changes.append(
            {
                "seq": self.seq,
                "kind": kind,
                "namespace": agent.namespace,
                "name": agent.name,
                "version": version,
            }
        )

    def audit(
        self,
        actor: Actor,
        action: str,
        agent: Agent,
        version: str = "",
        *,
        before: str = "",
        after: str = "",
        detail: str = "",
    ) -> None:
        """Append to the audit trail."""
        self._audited += 1
        told = Audited(
            self._audited, self.now, actor.name, actor.remote, action, *agent, version, before, after, detail
        )
        self._trail.append({name: getattr(told, name) for name in Audited.__slots__})

    def finish(self, keep: int) -> None:
        """Write what was appended; of the change log the newest `keep` lines stay."""
        if self._changes:
            self.connection.execute(sql.LOG, self._changes)
            if (self.seq - len(self._changes)) // _TRIM_EVERY != self.seq // _TRIM_EVERY:
                self.do(sql.TRIM_LOG, before=self.seq - keep)
        if self._trail:
            self.connection.execute(sql.AUDIT, self._trail)
        if self._changes or self._trail:
            self.do(sql.COUNTED, seq=self.seq, audited=self._audited)


def values_of(key: Key | Agent) -> Mapping[str, str]:
    """What the statements call the parts of a key."""
    return key._asdict()
