"""What the tests of Nacos share: waiting without luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def until(what: Callable[[], Any], within: float = 60.0) -> float:
    """Wait until `what` is true; the seconds that took."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > within:
            raise AssertionError(f"not so within {within} s")
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def eventually(what: Callable[[], Awaitable[Any]], within: float = 60.0) -> Any:
    """Wait until what is awaited is true; its value."""
    began = time.monotonic()
    while not (found := await what()):
        if time.monotonic() - began > within:
            raise AssertionError(f"not so within {within} s")
        await asyncio.sleep(0.02)
    return found
