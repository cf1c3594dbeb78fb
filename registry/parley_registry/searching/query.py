"""A search as it is asked: its criteria, and its cursor."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product

import orjson

from parley_registry.entry import Key
from parley_registry.errors import BadRequest, Fault
from parley_registry.searching.document import INTERFACE, media_type

MAX_LIMIT = 100
MAX_TEXT = 256
MAX_VALUES = 16
"""Values that one filter may be given."""

Given = tuple[str, ...]
"""The values that a filter accepts; one of them must be had. Without any, it does not matter."""

PLAIN = (
    "namespace",
    "skill",
    "tag",
    "capability",
    "extension",
    "provider",
    "security",
    "owner",
    "signature",
    "external",
    "version",
    "health",
)
"""Filters that are called like the facet whose values they accept."""


@dataclass(frozen=True, slots=True)
class Query:
    """All that is given must hold. See `RegistryClient.search`."""

    text: str = ""
    semantic: bool = True
    latest: bool = False
    namespace: Given = ()
    skill: Given = ()
    tag: Given = ()
    capability: Given = ()
    extension: Given = ()
    input_mode: Given = ()
    output_mode: Given = ()
    provider: Given = ()
    binding: Given = ()
    protocol_version: Given = ()
    security: Given = ()
    owner: Given = ()
    signature: Given = ()
    external: Given = ()
    version: Given = ()
    health: Given = ()

    @property
    def digest(self) -> str:
        """A short name of the criteria, by which a cursor knows its search."""
        return hashlib.sha256(orjson.dumps(asdict(self))).hexdigest()[:12]

    def criteria(self) -> list[tuple[str, Sequence[str]]]:
        """The facets of which one of some values must be had. A media type is had by who takes all of its kind, too."""
        found: list[tuple[str, Sequence[str]]] = []
        found += [(facet, given) for facet in PLAIN if (given := getattr(self, facet))]
        for facet, modes in (("inputMode", self.input_mode), ("outputMode", self.output_mode)):
            if modes:
                types = [media_type(mode) for mode in modes]
                kinds = [f"{one.partition('/')[0]}/*" for one in types]
                found.append((facet, list(dict.fromkeys((*types, *kinds, "*/*")))))
        if self.binding and self.protocol_version:
            found.append(
                (INTERFACE, [" ".join(both) for both in product(self.binding, self.protocol_version)])
            )
        elif self.binding:
            found.append(("binding", self.binding))
        elif self.protocol_version:
            found.append(("protocolVersion", self.protocol_version))
        return found


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
        valid = len(key) == 3 and all(isinstance(one, str) for one in key) and tier in (0, 1, 2, 3)
        valid = valid and isinstance(rank, int) and 0 <= rank < 2**31 and isinstance(score, int | float)
        valid = valid and type(tier) is int and type(rank) is int
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise _bad_cursor("is not a cursor of this registry; take `next` of the page before, or leave it out")
    if digest != query.digest:
        raise _bad_cursor("belongs to another search; keep all criteria the same while paging")
    return Position(tier, rank, float(score), Key(*key))


def _bad_cursor(why: str) -> BadRequest:
    return BadRequest("the search cannot be continued there", (Fault("cursor", why),))
