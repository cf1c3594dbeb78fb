"""A look into the store at the end, through its port and, for what that does not show, by SQL."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

from campaign.checker import Stored
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.connection import address_of, connect
from parley_runtime.stores.sqlite import SqliteStore

_OWNER = "local"
_TASKS = "SELECT id FROM task"
_MESSAGES = {
    "sqlite": "SELECT message_id, task_id FROM message",
    "postgresql": "SELECT message_id, task_id FROM work WHERE message_id <> ''",
}
_LEFT = {
    "work entries that wait or run": "SELECT count(*) FROM work WHERE state < 2",
    "tasks in the queue": "SELECT count(*) FROM queue",
    "counted as waiting": "SELECT coalesce(sum(delta), 0) FROM depth",
    "pushes to send": "SELECT count(*) FROM outbox WHERE state = 0",
    "pushes given up": "SELECT count(*) FROM outbox WHERE state = 2",
}
_POSTGRES_ONLY = ("tasks in the queue", "counted as waiting")

Rows = Callable[[str], Awaitable[list[Any]]]


async def look(url: str, agent: str) -> Stored:
    """What the store at an address holds for an agent."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        tasks, messages, left = await _sqlite(url)
    else:
        tasks, messages, left = await _postgres(url, agent)
    store = SqliteStore(url) if scheme == "sqlite" else PostgresStore(url, agent)
    await store.open()
    try:
        traces = {task: trace for task in tasks if (trace := await store.trace(task, _OWNER)) is not None}
    finally:
        await store.close()
    return Stored(traces, messages, left)


_Found = tuple[list[str], dict[str, str], dict[str, int]]


async def _sqlite(url: str) -> _Found:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:

        async def rows(query: str) -> list[Any]:
            return connection.execute(query).fetchall()

        return await _found("sqlite", rows)


async def _postgres(url: str, agent: str) -> _Found:
    connection = await connect(address_of(url, agent), "look")
    try:

        async def rows(query: str) -> list[Any]:
            return list(await connection.fetch(query))

        return await _found("postgresql", rows)
    finally:
        await connection.close()


async def _found(scheme: str, rows: Rows) -> _Found:
    counts = [what for what in _LEFT if scheme != "sqlite" or what not in _POSTGRES_ONLY]
    return (
        [row[0] for row in await rows(_TASKS)],
        {row[0]: row[1] for row in await rows(_MESSAGES[scheme])},
        {what: int((await rows(_LEFT[what]))[0][0]) for what in counts},
    )
