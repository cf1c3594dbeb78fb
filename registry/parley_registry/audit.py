"""Who changes what: the caller of a change, and the line that the audit trail keeps of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change: its subject ("" where nobody needs to say who they are), the address that it came from,
    and whether it may change what others own."""

    name: str = ""
    remote: str = ""
    admin: bool = False


NOBODY = Actor()
"""The actor where no tokens are asked for, and of what the registry does by itself."""


@dataclass(frozen=True, slots=True)
class Audited:
    """One change as the trail keeps it. `at` is in seconds since the epoch; `before` and `after` are what `action` is
    about: digests of a publish, versions of a latest, owners, tables of a rollout."""

    seq: int
    at: float
    actor: str
    remote: str
    action: str
    namespace: str
    name: str
    version: str
    before: str
    after: str
    detail: str
