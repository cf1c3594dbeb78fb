"""Conditions, as all of Kubernetes has them."""

import math
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from parley_operator.resources.base import Model

Truth = Literal["True", "False", "Unknown"]


class Condition(Model):
    """One thing that holds, or does not, and why."""

    type: Annotated[str, Field(max_length=63)]
    """What it is about."""
    status: Truth
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=128)]
    """Why, in one word for programs."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """Why, in words for people."""
    last_transition_time: Annotated[str, Field(max_length=32)]
    """Since when the status is what it is."""
    observed_generation: int = 0
    """The generation of the object that it was found of."""


def clock(now: float) -> str:
    """A time as Kubernetes writes it, in whole seconds."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(now: float) -> str:
    """The same, never before `now`: of what is to last so long at least."""
    return clock(math.ceil(now))


def unclock(text: str) -> float:
    """Seconds since the epoch of what `clock` wrote. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
