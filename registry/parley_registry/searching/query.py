"""A search as it is asked: its criteria, its cursor, and the reasons that a hit is given."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from parley_registry.entry import Key
from parley_registry.errors import BadRequest, Fault
from parley_registry.searching.document import media_type

Analyze = Callable[[str], list[str]]

MAX_LIMIT = 100
MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class Query:
    """All that is given must hold; "" is not given. See `RegistryClient.search`."""

    text: str = ""
    namespace: str = ""
    skill: str = ""
    tag: str = ""
    capability: str = ""
    input_mode: str = ""
    output_mode: str = ""
    provider: str = ""
    binding: str = ""
    protocol_version: str = ""
    health: str = ""

    @property
    def digest(self) -> str:
        """A short name of the criteria, by which a cursor knows its search."""
        return hashlib.sha256(orjson.dumps(asdict(self))).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Position:
    """The last hit of a page: in which tier, how many of the tier came up to it, its score and its key."""

    tier: int
    rank: int
    score: float
    key: Key


def write_cursor(query: Query, position: Position) -> str:
    """The opaque cursor of the page after `position`."""
    told = [query.digest, position.tier, position.rank, position.score, *position.key]
    return urlsafe_b64encode(orjson.dumps(told)).decode().rstrip("=")


def read_cursor(query: Query, cursor: str) -> Position | None:
    """The position that a cursor stands for, None for "". Raises BadRequest for any other text, or another search's."""
    if not cursor:
        return None
    try:
        digest, tier, rank, score, *key = orjson.loads(
            urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        )
        valid = len(key) == 3 and all(isinstance(one, str) for one in key) and tier in (0, 1)
        valid = valid and isinstance(rank, int) and 0 <= rank < 2**31 and isinstance(score, int | float)
        valid = valid and type(tier) is int and type(rank) is int
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise _bad_cursor("is not a cursor of this registry; take `next` of the page before, or leave it out")
    if digest != query.digest:
        raise _bad_cursor("belongs to another search; keep all criteria the same while paging")
    return Position(tier, rank, float(score), Key(*key))


def reasons(
    query: Query, card: Mapping[str, Any], latest: bool, words: Iterable[str], analyze: Analyze
) -> list[str]:
    """Why a card is a hit, in words: what of it fits each criterion. `analyze` gives the words of a text."""
    told = []
    wanted = set(words)
    if wanted:
        told += _text_reasons(card, wanted, analyze)
    for label, value in (
        ("skill", query.skill),
        ("tag", query.tag),
        ("capability", query.capability),
        ("input", query.input_mode and media_type(query.input_mode)),
        ("output", query.output_mode and media_type(query.output_mode)),
        ("provider", query.provider),
        ("binding", " ".join(v for v in (query.binding, query.protocol_version) if v)),
        ("health", query.health),
    ):
        if value:
            told.append(f"matched {label} {value}")
    if not latest:
        told.append("an older version")
    return told


def _text_reasons(card: Mapping[str, Any], wanted: set[str], analyze: Analyze) -> list[str]:
    told = []

    def found(text: str) -> str:
        return ", ".join(dict.fromkeys(word for word in analyze(text) if word in wanted))

    if found(card["name"]):
        told.append(f"name matches “{found(card['name'])}”")
    for skill in card.get("skills", ()):
        hit = found("\n".join((skill["id"], skill["name"], *skill["tags"])))
        if hit:
            told.append(f"matched skill {skill['id']} “{hit}”")
        if len(told) == 4:
            break
    about = [card.get("description", ""), card.get("provider", {}).get("organization", "")]
    for skill in card.get("skills", ()):
        about += [skill["description"], *skill.get("examples", ())]
    if not told and (hit := found("\n".join(about))):
        told.append(f"description matches “{hit}”")
    return told


def _bad_cursor(why: str) -> BadRequest:
    return BadRequest("the search cannot be continued there", (Fault("cursor", why),))
