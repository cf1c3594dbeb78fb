"""The names of Parley's topics and groups: at most 64 characters of [A-Za-z0-9_-]; part of the public contract."""

import hashlib
import re

_LONGEST = 64
_MARK = 12
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


def work(agent: str, version: str) -> str:
    """The priority topic, and the consumer group, of the work of an agent's version."""
    return _name("parley-work-", f"{agent}-{version}", exact=f"{agent}@{version}")


def events(agent: str) -> str:
    """The parent of the lite topics that carry an agent's sessions."""
    return _name("parley-events-", agent)


def session(context_id: str) -> str:
    """The lite topic of a session: its contextId, when that can be one."""
    if len(context_id) <= _LONGEST and _PLAIN.match(context_id):
        return context_id
    return "h-" + hashlib.sha256(context_id.encode()).hexdigest()[:40]


def front(agent: str, host: str) -> str:
    """The consumer group of one process that reads an agent's events."""
    return _fronts(agent) + hashlib.sha256(host.encode()).hexdigest()[:_MARK]


def is_front(agent: str, group: str) -> bool:
    """Whether a consumer group is one of `front` of this agent, of whatever process."""
    prefix = _fronts(agent)
    return group.startswith(prefix) and re.fullmatch(f"[0-9a-f]{{{_MARK}}}", group[len(prefix) :]) is not None


def _fronts(agent: str) -> str:
    return _name("parley-front-", agent, room=_MARK + 1) + "-"


def beat(host: str) -> str:
    """The lite topic through which a process tells itself that all works."""
    return "beat-" + hashlib.sha256(host.encode()).hexdigest()[:_MARK]


def inbox(agent: str) -> str:
    """The topic, and the consumer group, through which other programs send an agent messages."""
    return _name("parley-in-", agent)


def dead(agent: str) -> str:
    """The topic of what came to the inbox and could not be taken."""
    return _name("parley-dead-", agent)


def _name(prefix: str, text: str, *, exact: str = "", room: int = 0) -> str:
    """`prefix` and `text`; where characters had to be replaced or the end cut off, with 8 digits that tell apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", text)
    longest = _LONGEST - len(prefix) - room
    if plain == text and len(plain) <= longest and not exact:
        return prefix + plain
    mark = hashlib.sha256((exact or text).encode()).hexdigest()[:8]
    return f"{prefix}{plain[: longest - 9]}-{mark}"
