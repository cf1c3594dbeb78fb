"""A stream from the registry that outlives its connections."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from parley_registry.errors import RegistryBusy, RegistryUnavailable

T = TypeVar("T")

_SOON = 0.2
_SELDOM = 5.0
"""Seconds between two connections, more from each that gave nothing to the next."""


async def reconnecting(connect: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """What one connection after the other gives; ends only when the iteration is given up.

    `connect` begins a stream over a new connection, which may break off with RegistryUnavailable or RegistryBusy at any
    time. What else it raises is raised.
    """
    pause = _SOON
    while True:
        try:
            async with aclosing(connect()) as stream:
                async for one in stream:
                    pause = _SOON
                    yield one
        except (RegistryUnavailable, RegistryBusy):
            pass  # the same stream may succeed later: that is what the pause is for
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _SELDOM)
