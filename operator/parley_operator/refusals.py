"""What is refused while a plan is carried out: it is gathered, and the rest goes on."""

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from parley_operator.degraded import Problem
from parley_operator.kube.errors import ApiError, ApiFailed, Stale

T = TypeVar("T")


class Again(Exception):
    """Something was changed by others since it was observed: observe and plan again, soon."""


class Refusals:
    """What the API server and the registry have refused of one plan."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def __len__(self) -> int:
        return len(self._problems)

    @property
    def problem(self) -> Problem | None:
        """All of it, None when there is none."""
        return Problem.together(self._problems)

    def since(self, number: int) -> Problem | None:
        """What came after so many."""
        return Problem.together(self._problems[number:])

    def with_late(self, late: Problem | None) -> Problem | None:
        """All of it, and what may come still."""
        return Problem.together(self._problems + ([late] if late else []))

    def add(self, problem: Problem | None) -> None:
        """This was refused, unless it is None."""
        if problem is not None:
            self._problems.append(problem)

    async def attempt(self, at: str, step: Awaitable[T]) -> T | None:
        """What the step gives, or None when it is refused; `at` says what it is about. Raises Again when the step went by
        what has changed, ApiUnavailable, NotLeading."""
        try:
            return await step
        except Stale as error:
            raise Again from error
        except (ApiError, ApiFailed) as error:
            # Some of what it cannot read the API server calls a failure of its own.
            self.add(Problem.of(error, at))
            return None


def what(obj: Mapping[str, Any]) -> str:
    """An object in words."""
    return f"{obj['kind']} {obj['metadata']['name']}"
