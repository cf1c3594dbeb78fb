"""What the orchestrator remembers of a task: each finished piece of work, found again by name."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from parley_runtime.steps import current_steps, step

T = TypeVar("T")


class Journal:
    """Runs each named piece of work once for a task, over all its turns.

    On a Parley host the results are durable steps, found again after a crash by whoever goes on. On any other
    host they live in `memory`, which the executor keeps while the task is open: enough for follow-ups.
    """

    def __init__(self, memory: dict[str, Any]) -> None:
        self._memory = memory

    async def once(self, name: str, fn: Callable[[], Awaitable[T]]) -> T:
        """The result of `fn`: bytes or JSON. Names must not depend on time or chance. Exceptions are not kept."""
        if current_steps.get() is not None:
            return await step(name, fn, scope="task")
        if name not in self._memory:
            self._memory[name] = await fn()
        found: T = self._memory[name]
        return found
