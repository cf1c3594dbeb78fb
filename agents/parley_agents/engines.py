"""The seam for other ways of working: an agent's engine is chosen by configuration (PARLEY_ENGINE)."""

from collections.abc import Mapping
from typing import TypeVar

from parley_core.errors import ConfigurationError

T = TypeVar("T")


def choose(name: str, engines: Mapping[str, T], role: str) -> T:
    """The engine of that name. Raises ConfigurationError that lists those there are."""
    try:
        return engines[name]
    except KeyError:
        known = ", ".join(sorted(engines))
        raise ConfigurationError(f"PARLEY_ENGINE={name!r}: the {role} knows only {known}") from None
