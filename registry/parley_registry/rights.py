"""Who may change what: rights to names, from a token's claim or from the registry's settings.

A right is `NAMESPACE/NAME`, with `*` for any characters: to publish under such names, and to change what one owns of
them. `admin:NAMESPACE/NAME` is the right to change what others own too, to hand names over, and to read the trail.
A token with the claim for rights has those that the claim lists, and no others; a token without it has those that the
settings grant to its subject. Where no tokens are asked for, everybody is the one local owner and may do everything.
"""

import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from parley_core.errors import ConfigurationError
from parley_registry.audit import Actor
from parley_registry.entry import Agent
from parley_registry.errors import NotPermitted
from parley_registry.names import shapes

_RIGHT = re.compile(r"(?:(publish|admin):)?([A-Za-z0-9_.*-]+)/(.+)")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes the running call. `known` is false where nobody has to say who they are; `claimed` are the rights in
    the token, None if it says nothing of them."""

    owner: str = ""
    subject: str = ""
    claimed: tuple[str, ...] | None = None
    remote: str = ""
    known: bool = False


NOBODY_KNOWN = Caller()
caller: ContextVar[Caller] = ContextVar("parley_registry_caller", default=NOBODY_KNOWN)
"""The caller that the door let in; what runs in the background has none."""


@dataclass(frozen=True, slots=True)
class Right:
    """One right. `text` is how it was written."""

    text: str
    admin: bool
    namespace: re.Pattern[str]
    name: re.Pattern[str]

    def covers(self, agent: Agent) -> bool:
        """Whether it is a right to this name."""
        return bool(self.namespace.fullmatch(agent.namespace) and self.name.fullmatch(agent.name))


def right(text: str) -> Right:
    """A right as claims and settings write it. Raises ValueError with the form that is expected."""
    match = _RIGHT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a right; write it like team-a/*, public/coder or admin:team-a/*")
    return Right(text, match[1] == "admin", _pattern(match[2]), _pattern(match[3]))


class Rights:
    """What callers may do, by the settings of one service.

    `grants` are `SUBJECT=RIGHT RIGHT …`, the subject with `*` for any characters; `reserved` are patterns of names that
    only an admin may take. `claim` is how the claim for rights is called, for messages. Raises ConfigurationError.
    """

    def __init__(self, grants: Sequence[str], reserved: Sequence[str], claim: str) -> None:
        self._claim = claim
        self._grants = [_grant(one) for one in grants]
        self._reserved = [
            _pattern(shape) for one in reserved for shape in sorted(shapes(one.replace("*", "\0")))
        ]

    def actor(self, agent: Agent) -> Actor:
        """The caller as one who changes this agent. Raises NotPermitted when it has no right to the name."""
        who = caller.get()
        if not who.known:
            return Actor(remote=who.remote)
        held = [one for one in self._of(who) if one.covers(agent)]
        if not held:
            raise NotPermitted(self._refusal(who, agent))
        return Actor(who.owner, who.remote, admin=any(one.admin for one in held))

    def suspect(self) -> Actor:
        """The caller as one who is refused something."""
        who = caller.get()
        return Actor(who.owner, who.remote)

    def reads_trail(self, namespace: str, name: str) -> bool:
        """Whether the caller may read the trail of this name whoever owns it; "" stands for all there are."""
        who = caller.get()
        if not who.known:
            return True
        wanted = Agent(namespace or "*", name or "*")
        return any(one.admin and one.covers(wanted) for one in self._of(who))

    def is_reserved(self, name: str) -> bool:
        """Whether only an admin may take this name, or one that it can be taken for."""
        return any(one.fullmatch(shape) for one in self._reserved for shape in shapes(name))

    def _of(self, who: Caller) -> list[Right]:
        if who.claimed is not None:
            return [one for text in who.claimed if (one := _read(text)) is not None]
        return [one for subject, rights in self._grants if subject.fullmatch(who.subject) for one in rights]

    def _refusal(self, who: Caller, agent: Agent) -> str:
        wanted = f"{who.subject} has no right to {agent.namespace}/{agent.name}"
        if who.claimed is None:
            return (
                f"{wanted}: the token has no claim {self._claim!r}, and the registry grants nothing to its subject; have "
                f"{agent.namespace}/{agent.name} added to either"
            )
        there = ", ".join(who.claimed) or "nothing"
        return f"{wanted}: the claim {self._claim!r} of the token lists {there}; have {agent.namespace}/{agent.name} added"


def _grant(text: str) -> tuple[re.Pattern[str], list[Right]]:
    subject, separator, rights = text.rpartition("=")
    if not separator or not subject:
        raise ConfigurationError(
            f"--grants {text!r} is not a grant; write it like SUBJECT=team-a/*, with * for every subject"
        )
    try:
        return _pattern(subject), [right(one) for one in rights.split()]
    except ValueError as error:
        raise ConfigurationError(f"--grants: {error}") from error


def _read(text: str) -> Right | None:
    try:
        return right(text)
    except ValueError:
        return None  # what a claim says beyond our words is for others; it gives no right here


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in re.split(r"[*\0]", text)), re.DOTALL)
