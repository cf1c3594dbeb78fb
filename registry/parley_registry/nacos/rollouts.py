"""Rollout tables as configs of Nacos, in group `parley-rollouts`: pushed to the fronts, changed only by who read the last."""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection
from dataclasses import replace
from typing import Any

import orjson

from parley_registry.entry import Agent
from parley_registry.errors import RegistryUnavailable, RolloutConflict
from parley_registry.nacos.config import Config, ConfigKey, Configs
from parley_registry.nacos.connection import Overtaken
from parley_registry.nacos.layout import own_config
from parley_registry.rollout import Rollout, check_rollout, content_json, rollout_from, same_content

GROUP = "parley-rollouts"
_NONE_YET = "0" * 32
"""A hash that no config has: what is published since it is new or not at all."""
_SEEN_WITHIN = 5.0


class NacosRollouts:
    """The rollout tables of a Nacos cluster. Calls raise RegistryUnavailable, NotAllowed, BadRequest."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs

    async def get(self, agent: Agent) -> Rollout:
        """The table of an agent; one of revision 0 without versions when none was set."""
        return _read(agent, await self._configs.get(_key(agent)))

    async def set(self, rollout: Rollout, expected_revision: int, known: Collection[str]) -> Rollout:
        """Set a table for an agent that has the versions `known`; what is kept then, with its new revision.

        Returns when a read shows it. Raises RolloutConflict when the table has another revision than expected,
        RolloutRejected with every fault of it.
        """
        found = await self._configs.get(_key(rollout.agent))
        before = _read(rollout.agent, found)
        if before.revision != expected_revision:
            raise _conflict(rollout, expected_revision)
        check_rollout(rollout, known)
        if same_content(before, rollout):
            return before
        # In milliseconds, so that the table of an agent that was deleted and came again never has an old one's.
        kept = replace(rollout, revision=max(before.revision + 1, int(time.time() * 1000)))
        try:
            since = found.md5 if found else _NONE_YET
            await self._configs.publish(_key(rollout.agent), _text(kept), since=since)
        except Overtaken:
            raise _conflict(rollout, expected_revision) from None
        await self._seen(rollout.agent, kept.revision)
        return kept

    async def forget(self, agent: Agent) -> None:
        """Remove the table of an agent that is gone; returns when a read shows none."""
        if (await self.get(agent)).revision:
            await self._configs.remove(_key(agent))
            await self._seen(agent, 0)

    async def _seen(self, agent: Agent, revision: int) -> None:
        until = time.monotonic() + _SEEN_WITHIN
        while (await self.get(agent)).revision != revision:
            if time.monotonic() > until:
                raise RegistryUnavailable(
                    "Nacos took the rollout table but does not show it; read it again before you change it"
                )
            await asyncio.sleep(0.02)

    async def watch(self, agent: Agent) -> AsyncGenerator[Rollout, None]:
        """The table now, then each new one as Nacos pushes it; ends only when the iteration is given up."""
        told: asyncio.Queue[Config | None] = asyncio.Queue()
        listener = self._configs.listen(_key(agent), told.put_nowait)
        last: Rollout | None = None
        try:
            while True:
                now = _read(agent, await told.get())
                if now != last:
                    last = now
                    yield now
        finally:
            listener.close()


def _key(agent: Agent) -> ConfigKey:
    return own_config(agent.namespace, GROUP, agent.name)


def _conflict(rollout: Rollout, expected: int) -> RolloutConflict:
    return RolloutConflict(
        f"the rollout table of {rollout.name} is not at revision {expected} any more: somebody changed it; "
        "read it again before you change it"
    )


def _text(rollout: Rollout) -> str:
    told: dict[str, Any] = {
        "name": rollout.name,
        "revision": rollout.revision,
        **content_json(rollout),
    }
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()


def _read(agent: Agent, config: Config | None) -> Rollout:
    """The table that a config says; an empty one when it is no table, as a person may have left it."""
    if config is None:
        return Rollout(*agent)
    try:
        told = orjson.loads(config.text)
        return rollout_from(*agent, told, int(told["revision"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return Rollout(*agent)
