"""Which agents of a namespace changed: pushed where Nacos pushes, found by asking where it does not.

A change of an agent that is known is always pushed. Agents that come or go are pushed while a namespace has no more
versions than Nacos tells of (500, unless its settings say more), and found by asking otherwise.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

import orjson

from parley_core.errors import ParleyError
from parley_registry.nacos.agents import Agents
from parley_registry.nacos.config import Config, ConfigKey, Configs, Listener
from parley_registry.nacos.keys import KeyWatch
from parley_registry.nacos.layout import AGENTS, VERSIONS, called_of

log = logging.getLogger(__name__)

ASK_EVERY = 30.0
"""Seconds between two looks at everything while Nacos pushes all …"""
ASK_OFTEN = 2.0
"""… and while it does not, or does not answer; more seldom when that takes more than half a second."""


class AgentChanges:
    """Calls `told(called)` for every agent of a namespace at first, and again after each change of one, deletion included.

    `called` is Nacos's name of it, for `Agents.all_versions`. `told` must not block; it may be called once more than
    needed, never once less. What Nacos answers to who asks may be older than what it has told: so `looked_at` is called with the
    names of all agents each time everything was looked at, for who has one more.
    """

    def __init__(
        self,
        agents: Agents,
        configs: Configs,
        namespace: str,
        told: Callable[[str], None],
        looked_at: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._agents = agents
        self._configs = configs
        self._namespace = namespace
        self._told = told
        self._looked_at = looked_at
        self._known: dict[ConfigKey, tuple[str, str]] = {}
        self._listeners: dict[ConfigKey, Listener] = {}
        self._watches: list[KeyWatch] = []
        self._task: asyncio.Task[None] | None = None
        self.looked = 0.0
        """When everything was last looked at (time.monotonic); 0 before the first time."""

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep(), name=f"nacos-agents:{self._namespace}")

    async def close(self) -> None:
        """Stop, and listen to nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for watch in self._watches:
            watch.close()
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    @property
    def pushed(self) -> bool:
        """Whether Nacos pushes all changes of this namespace; otherwise some are seen within ASK_OFTEN seconds."""
        return bool(self._watches) and all(one.complete for one in self._watches)

    async def look(self) -> None:
        """Look at everything now. Raises RegistryUnavailable, NotAllowed, BadRequest."""
        found = await self._agents.listed(self._namespace)
        self.looked = time.monotonic()
        changed: dict[str, None] = {}
        for key in set(self._known) - set(found):
            changed[self._forget(key)] = None
        for key, (called, md5) in found.items():
            if self._known.get(key) != (called, md5):
                changed[called] = None
                self._known[key] = (called, md5)
            self._listen(key, md5)
        for called in changed:
            self._told(called)
        self._looked_at({called for called, _ in found.values()})

    async def _keep(self) -> None:
        began, looked, pause = 0.0, False, ASK_OFTEN
        while True:
            if not looked or not self.pushed or time.monotonic() - began > ASK_EVERY:
                began = time.monotonic()
                looked = await self._looked()
                pause = max(ASK_OFTEN, 4 * (time.monotonic() - began))
            await asyncio.sleep(pause)

    async def _looked(self) -> bool:
        try:
            await self.look()
        except ParleyError as error:
            log.debug("nacos: the agents of %s cannot be looked at: %s", self._namespace, error)
            return False
        except Exception:
            log.exception("looking at the agents of %s failed by a fault of ours", self._namespace)
            return False
        if not self._watches:
            self._watches = [self._watch(AGENTS), self._watch(VERSIONS)]
        return True

    def _watch(self, group: str) -> KeyWatch:
        def told(id_: str, exists: bool) -> None:
            key = ConfigKey(self._namespace, group, id_)
            if exists:
                self._listen(key, "")
            elif key in self._known:
                self._told(self._forget(key))

        return self._configs.watch(self._namespace, group, told)

    def _listen(self, key: ConfigKey, md5: str) -> None:
        if key not in self._listeners:
            self._listeners[key] = self._configs.listen(key, lambda one: self._heard(key, one), since=md5)

    def _heard(self, key: ConfigKey, config: Config | None) -> None:
        if config is None:
            if key in self._known:
                self._told(self._forget(key))
            return
        called = _called(key, config)
        if called and self._known.get(key) != (called, config.md5):
            self._known[key] = (called, config.md5)
            self._told(called)

    def _forget(self, key: ConfigKey) -> str:
        listener = self._listeners.pop(key, None)
        if listener is not None:
            listener.close()
        return self._known.pop(key)[0]


def _called(key: ConfigKey, config: Config) -> str:
    if key.group == AGENTS:
        return called_of(key.id)
    try:
        return str(orjson.loads(config.text)["name"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
