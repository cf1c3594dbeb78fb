"""Streams on many tasks that look for what they may have missed cost little when there is nothing."""

import asyncio
from typing import Any

import pytest

from parley_runtime.store import Append, NewEvent, NewMessage
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres import statements as sql

WORKING = 2


def message(task: str) -> NewMessage:
    return NewMessage("o", f"m-{task}", b"d", task, False, "", f"c-{task}", "1", b"r", "")


async def test_looks_at_many_tasks_are_a_few_statements_and_take_no_connection_of_the_pool(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(postgres_dsn, "a")
    await store.open()
    await store.register_worker("w", "1", 60)
    names = [f"t{n}" for n in range(300)]
    accepted = await asyncio.gather(*(store.accept(message(name), take_as="w") for name in names))
    statements: list[str] = []
    connection = store._heads._connection

    class Counted:
        async def fetch(self, statement: str, *values: Any) -> Any:
            statements.append(statement)
            return await connection.fetch(statement, *values)

        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

    monkeypatch.setattr(store._heads, "_connection", Counted())
    with monkeypatch.context() as apart:
        apart.setattr(store.pool, "session", None)
        assert await asyncio.gather(*(store.events(name, 0) for name in names)) == [[]] * 300
    assert set(statements) == {sql.GENERATIONS}
    assert len(statements) <= 4
    work = accepted[7].work
    assert work is not None
    await store.append(Append("t7", work.epoch, 1, 1, [NewEvent(b"{}", WORKING)]))
    assert [event.generation for event in await store.events("t7", 0)] == [1]
    assert await store.events("t7", 1) == []
    assert await store.events("nothing", 0) == []
    await store.close()
