"""Options that several commands have together: written once, they come to a command as what they make."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

R = TypeVar("R")


def gathered(**makers: Callable[..., Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a command take by each of these names what the maker makes; what the maker takes are options of the command then,
    after its own. It is called before the command begins, so a maker that raises is a command that does not begin."""
    taken = {name: inspect.signature(maker).parameters for name, maker in makers.items()}

    def decorated(command: Callable[..., R]) -> Callable[..., R]:
        own = [one for one in inspect.signature(command).parameters.values() if one.name not in makers]
        every = [*own, *(one for each in taken.values() for one in each.values())]

        @wraps(command)
        def called(**given: Any) -> R:
            made = {
                name: maker(**{one: given.pop(one) for one in taken[name]}) for name, maker in makers.items()
            }
            return command(**given, **made)

        # What typer reads: the parameters with their annotations.
        keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in every]
        called.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in every}
        return called

    return decorated
