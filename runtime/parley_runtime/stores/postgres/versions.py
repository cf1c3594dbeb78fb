"""What a PostgreSQL schema knows of the versions of its agent."""

from collections.abc import Sequence
from typing import Any

from parley_registry.client import SAMPLE, RolloutVersion, VersionFigures
from parley_runtime.metrics import end_name
from parley_runtime.store import ENDED
from parley_runtime.stores.postgres import statements as sql

_NO_OPEN: tuple[int, int, int] = (0, 0, 0)


async def rollout(c: Any) -> list[RolloutVersion]:
    """See Store.rollout."""
    return [RolloutVersion(*row) for row in await c.fetch(sql.ROLLOUT)]


async def set_rollout(c: Any, table: Sequence[RolloutVersion]) -> None:
    """See Store.set_rollout; in a transaction."""
    await c.execute(sql.SETTING_ROLLOUT)
    await c.execute(sql.DROP_ROLLOUT)
    rows = [(n, v.version, v.state, float(v.weight)) for n, v in enumerate(table)]
    if rows:
        await c.execute(sql.ADD_ROLLOUT, *map(list, zip(*rows, strict=True)))


async def move(c: Any, version: str, to: str) -> int:
    """See Store.move; in a transaction."""
    ids = [row["id"] for row in await c.fetch(sql.OPEN_OF, version)]
    if ids:
        heads = await c.fetch(sql.LOCK, ids)  # meanwhile it may have ended, or been moved by another
        ids = [row["id"] for row in heads if row["version"] == version and row["state"] not in ENDED]
        await c.execute(sql.FREE_ALL, ids, 1)
        for statement in sql.MOVE:
            await c.execute(statement, ids, to)
        await c.fetch(sql.SETTLE, ids)
    for statement in sql.MOVE_PINS:
        await c.execute(statement, version, to)
    return len(ids)


async def unhosted(c: Any) -> dict[str, int]:
    """See Store.unhosted."""
    return {row["version"]: row["waiting"] for row in await c.fetch(sql.UNHOSTED)}


async def figures(c: Any, since: float) -> list[VersionFigures]:
    """See Store.figures."""
    workers = dict(await c.fetch(sql.LIVE))
    opened = {version: (busy, idle, contexts) for version, busy, idle, contexts in await c.fetch(sql.OPEN)}
    ended: dict[str, dict[str, int]] = {}
    for version, state, count in await c.fetch(sql.ENDED_BY, since):
        ended.setdefault(version, {})[end_name(state)] = count
    measures: dict[str, dict[str, list[float]]] = {}
    found = ("", "")
    while row := await c.fetchrow(sql.NEXT_MEASURED, *found):
        found = (row["version"], row["name"])
        if rows := await c.fetch(sql.MEASURES, since, *found, SAMPLE):
            measures.setdefault(found[0], {})[found[1]] = [one["value"] for one in rows]
    return [
        VersionFigures(
            version,
            workers.get(version, 0),
            *opened.get(version, _NO_OPEN),
            ended.get(version, {}),
            [row["seconds"] for row in await c.fetch(sql.DURATIONS, since, version, SAMPLE)],
            measures.get(version, {}),
        )
        for version in sorted({*workers, *opened, *ended, *measures})
    ]
