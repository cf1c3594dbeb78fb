"""A look into the store at the end, through its port and, for what that does not show, by SQL."""

import sqlite3

from campaign.checker import Stored
from parley_runtime.engines import engines_for
from parley_runtime.settings import HostSettings

_OWNER = "local"
_TASKS = "SELECT id FROM task"
_MESSAGES = "SELECT message_id, task_id FROM message"
_LEFT = {
    "work entries that wait or run": "SELECT count(*) FROM work WHERE state < 2",
    "pushes to send": "SELECT count(*) FROM outbox WHERE state = 0",
    "pushes given up": "SELECT count(*) FROM outbox WHERE state = 2",
}


async def look(url: str, agent: str) -> Stored:
    """What the store at an address holds for an agent."""
    tasks, messages, left = await _sqlite(url)
    store = engines_for(HostSettings(store=url), agent).store
    await store.open()
    try:
        traces = {task: trace for task in tasks if (trace := await store.trace(task, _OWNER)) is not None}
    finally:
        await store.close()
    return Stored(traces, messages, left)


async def _sqlite(url: str) -> tuple[list[str], dict[str, str], dict[str, int]]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return (
            [row[0] for row in connection.execute(_TASKS)],
            dict(connection.execute(_MESSAGES)),
            {what: connection.execute(query).fetchone()[0] for what, query in _LEFT.items()},
        )
    finally:
        connection.close()
