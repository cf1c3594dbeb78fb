"""What a registry can be searched for, as its client and the port take it."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

Values = str | Sequence[str]
"""One value, or several of which an entry must have one; case does not matter."""


class Criteria(TypedDict, total=False):
    """All that is given must hold.

    `text` are words: the last may be the beginning of one, slips are forgiven, Chinese, Japanese and Korean need no
    spaces; `semantic=False` looks for the words alone where the registry could look for the meaning. `latest` asks for the
    latest version of each agent only, `external` for those that were registered by their URL (or not). `namespace` is by
    default the client's own; "" searches all. `security` is a kind of security scheme, as OpenAPI calls it, or "none".
    `limit` (1 to 100, 20 by default) is the size of a page; `cursor` the `next` of the page before, with the same search.
    """

    text: str
    semantic: bool
    latest: bool
    namespace: Values
    skill: Values
    tag: Values
    capability: Values
    extension: Values
    input_mode: Values
    output_mode: Values
    provider: Values
    binding: Values
    protocol_version: Values
    security: Values
    owner: Values
    signature: Values
    external: bool | None
    version: Values
    health: Values | Literal["up", "down", "unknown"]
    limit: int
    cursor: str


def parameters(criteria: Mapping[str, object]) -> dict[str, list[str]]:
    """The query string of a search: the values of each parameter."""
    told: dict[str, list[str]] = {}
    for name, given in criteria.items():
        first, *rest = name.split("_")
        shown = first + "".join(word.capitalize() for word in rest)
        if isinstance(given, bool):
            told[shown] = ["true" if given else "false"]
        elif isinstance(given, str | int):
            told[shown] = [str(given)]
        elif isinstance(given, Sequence):
            told[shown] = [str(value) for value in given]
    return {name: values for name, values in told.items() if any(values)}
