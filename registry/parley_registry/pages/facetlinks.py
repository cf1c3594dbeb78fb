"""A search as a URL, and the facets of its result as links that add and take away one value each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from parley_registry.searching.query import MAX_VALUES, Query

_ORDER = ("health", "skill", "tag", "capability", "provider", "inputMode", "outputMode")
_LABELS = {
    "inputMode": "Input",
    "outputMode": "Output",
    "protocolVersion": "A2A version",
}
_FIRST = 6
"""Values of a facet that are shown at once; the others unfold."""


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


Criteria = Mapping[str, tuple[str, ...]]
"""What is asked for, by the names of URL parameters."""

FILTERS: Mapping[str, str] = {
    _camel(field.name): field.name for field in fields(Query) if isinstance(field.default, tuple)
}
"""The filters of a search, by the names of their URL parameters."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet: how many of the matches have it (None: not counted), and where choosing it, or taking the
    choice back, leads."""

    text: str
    count: int | None
    chosen: bool
    url: str


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet as it is shown: the values seen at once, and those that unfold."""

    name: str
    label: str
    first: tuple[Value, ...]
    more: tuple[Value, ...]

    @property
    def chosen(self) -> tuple[Value, ...]:
        """What the search asks for of it."""
        return tuple(value for value in (*self.first, *self.more) if value.chosen)


def asked(parameters: Iterable[tuple[str, str]]) -> Criteria:
    """The criteria among a URL's parameters, without the empty ones: the text, filters, and whether older versions count
    (`versions=all`)."""
    found: dict[str, tuple[str, ...]] = {}
    for name, told in parameters:
        value, before = told.strip(), found.get(name, ())
        if name in FILTERS and value and value not in before and len(before) < MAX_VALUES:
            found[name] = (*before, value)
        elif (name == "text" and value) or (name, value) == ("versions", "all"):
            found[name] = (value,)
    return found


def query_of(criteria: Criteria) -> Query:
    """The search for these criteria: of the latest versions, unless others are asked for."""
    filters: dict[str, Any] = {FILTERS[name]: values for name, values in criteria.items() if name in FILTERS}
    latest = "versions" not in criteria and "version" not in criteria
    return Query(text="".join(criteria.get("text", ())), latest=latest, **filters)


def url_of(criteria: Criteria, **others: str) -> str:
    """The address of a search."""
    pairs = [(name, value) for name, values in criteria.items() for value in values]
    told = urlencode([*pairs, *((name, value) for name, value in others.items() if value)])
    return f"/?{told}" if told else "/"


def facets_of(criteria: Criteria, counts: Mapping[str, Mapping[str, int]]) -> list[Facet]:
    """The facets of a result. Those that tell nothing apart (one value that was not asked for) are left out.

    `counts` of a facet that was asked for should be of the search without it, since a further value of it widens the search.
    """
    names = [name for name in _ORDER if name in counts]
    names += [name for name in counts if name not in _ORDER]
    facets = [_facet(name, criteria, counts[name]) for name in names]
    return [facet for facet in facets if facet.chosen or len(facet.first) > 1]


def _facet(name: str, criteria: Criteria, counts: Mapping[str, int]) -> Facet:
    wanted = criteria.get(name, ())

    def leading_to(values: tuple[str, ...]) -> str:
        return url_of({**criteria, name: values})

    counted = {text.casefold(): count for text, count in counts.items()}
    chosen = [
        Value(
            text, counted.get(text.casefold()), True, leading_to(tuple(one for one in wanted if one != text))
        )
        for text in wanted
    ]
    folded = {text.casefold() for text in wanted}
    others = [
        Value(text, count, False, leading_to((*wanted, text)))
        for text, count in counts.items()
        if text.casefold() not in folded
    ]
    values = (*chosen, *others)
    first = max(_FIRST, len(chosen))
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name)
    label = _LABELS.get(name, words[:1].upper() + words[1:])
    return Facet(name, label, values[:first], values[first:])
