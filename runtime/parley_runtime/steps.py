"""Durable steps: parts of an execution that run once, however often a crash makes the execution start again."""

import inspect
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TypeVar, cast, overload

import orjson

from parley_core.errors import ParleyError
from parley_core.telemetry import span
from parley_runtime.store import StepRecord

T = TypeVar("T")
Scope = Literal["turn", "task"]
_RAW, _JSON = b"r", b"j"


class StepError(ParleyError):
    """A step was used in a way that cannot be made durable."""


class LeaseLost(ParleyError):
    """Another worker has taken this execution over; this one must stop."""


class StepLog(Protocol):
    """Where an execution's finished steps are found and kept."""

    def finished(self, name: str, scope: Scope) -> bytes | None:
        """The kept result of a step, or None."""

    async def keep(self, step: StepRecord, scope: Scope) -> None:
        """Keep a result. Raises LeaseLost when this execution no longer holds the task."""


current_steps: ContextVar[StepLog | None] = ContextVar("parley_steps", default=None)


@overload
async def step(name: str, fn: Callable[..., Awaitable[T]], *args: Any, scope: Scope = "turn") -> T: ...
@overload
async def step(name: str, fn: Callable[..., T], *args: Any, scope: Scope = "turn") -> T: ...
async def step(name: str, fn: Callable[..., Any], *args: Any, scope: Scope = "turn") -> Any:
    """Run `fn(*args)` and keep its result; after a takeover return the kept result instead of running it again.

    `name` must be unique within the execution (with `scope="task"`: within all turns of the task) and the same on
    every run. The result must be bytes or JSON: None, bool, numbers, strings, lists and dicts with string keys; it
    comes back as JSON would give it (tuples as lists). `fn` runs at least once: a crash after it ran and before its
    result was kept runs it again, so give its own effects an idempotency key. An exception is not kept.

    Outside a Parley host this just calls `fn`. Raises StepError when the result cannot be kept, LeaseLost when the
    task was taken over meanwhile.
    """
    steps = current_steps.get()
    if steps is None:
        return await _call(fn, args)
    kept = steps.finished(name, scope)
    if kept is not None:
        return _decode(kept)
    started = time.time()
    with span(f"step {name}"):
        result = await _call(fn, args)
    await steps.keep(StepRecord(name, _encode(name, result), started, time.time()), scope)
    return _decode(_encode(name, result))


async def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = fn(*args)
    return await result if inspect.isawaitable(result) else result


def _encode(name: str, result: Any) -> bytes:
    if isinstance(result, bytes):
        return _RAW + result
    try:
        return _JSON + orjson.dumps(result)
    except TypeError as error:
        raise StepError(
            f"step {name!r} returned a {type(result).__name__} that JSON cannot hold ({error}); "
            "return bytes, or plain dicts, lists, strings and numbers"
        ) from error


def _decode(kept: bytes) -> Any:
    return kept[1:] if kept[:1] == _RAW else cast(Any, orjson.loads(kept[1:]))
