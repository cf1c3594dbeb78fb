"""A queue that is filled through the store's own acceptance, and read the same way."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence

from a2a.types import a2a_pb2 as pb
from agent import card

from parley_runtime.dispatch import Call, digest, pack
from parley_runtime.engines import Engines, engines_for
from parley_runtime.settings import HostSettings
from parley_runtime.store import TERMINAL, Accepted, Limits, NewMessage, Store

_CARD = card("")
VERSION = _CARD.version
_AT_ONCE = 256
_TRACE = "00-11111111111111111111111111111111-2222222222222222-01"


@contextlib.asynccontextmanager
async def opened(store: str) -> AsyncIterator[Engines]:
    """The bench agent's engines in this process, as a front has them; with no limit on its backlog."""
    engines = engines_for(HostSettings(store=store), _CARD.name, VERSION, "bench")
    await engines.open()
    try:
        await engines.store.set_limits(Limits(backlog=0))
        yield engines
    finally:
        await engines.close()


def new(text: str, tenant: str) -> NewMessage:
    """A message that begins a task."""
    task_id, context_id = str(uuid.uuid4()), str(uuid.uuid4())
    message = pb.Message(message_id=str(uuid.uuid4()), role=pb.ROLE_USER, parts=[pb.Part(text=text)])
    identity = digest(message)
    message.task_id, message.context_id = task_id, context_id
    owner = f"local#{tenant}"
    request = pack(Call(owner), pb.SendMessageRequest(message=message))
    ids = (owner, message.message_id, identity, task_id, False, "", context_id)
    return NewMessage(*ids, VERSION, request, _TRACE, tenant=tenant)


async def accept(store: Store, count: int, text: str, tenant: str, at_once: int = _AT_ONCE) -> list[Accepted]:
    """Have so many tasks accepted, some at once; in the order of their acceptance."""
    accepted: list[Accepted] = []
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            accepted.append(await store.accept(new(text, tenant)))

    await asyncio.gather(*(caller() for _ in range(min(count, at_once))))
    return accepted


async def begun(store: Store, tasks: Sequence[Accepted]) -> dict[str, float]:
    """When each task had its first event, by the store's clock; those that have none are left out."""
    found: dict[str, float] = {}
    for start in range(0, len(tasks), 64):
        some = tasks[start : start + 64]
        logs = await asyncio.gather(*(store.events(task.task_id, 0, 1) for task in some))
        found.update({task.task_id: log[0].at for task, log in zip(some, logs, strict=True) if log})
    return found


async def ended(store: Store, task_id: str, seconds: float) -> None:
    """Return when the task has ended. Raises TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            stored = await store.load(task_id)
            if stored is not None and stored.state in TERMINAL:
                return
            await asyncio.sleep(0.002)
