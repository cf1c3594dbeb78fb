"""What a PostgreSQL schema knows of the versions of its agent."""

from collections.abc import Sequence
from typing import Any

from parley_registry.client import RolloutVersion
from parley_runtime.stores.postgres import statements as sql


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


async def unhosted(c: Any) -> dict[str, int]:
    """See Store.unhosted."""
    return {row["version"]: row["waiting"] for row in await c.fetch(sql.UNHOSTED)}
