"""Which instances of agents live, as Nacos pushes it."""

from collections.abc import Callable, Collection

from parley_registry.entry import Agent
from parley_registry.nacos.config import Listener
from parley_registry.nacos.layout import nacos_name, own_config, service_of
from parley_registry.nacos.naming import Endpoint, Service, Subscription
from parley_registry.nacos.rollouts import GROUP
from parley_registry.nacos.server import Nacos


class Living:
    """Subscriptions to what belongs to an agent beside its cards: the instances of its versions, its rollout table.

    `tell(called)` is called, with Nacos's name of the agent, when any of it changed.
    """

    def __init__(self, nacos: Nacos, tell: Callable[[str], None]) -> None:
        self._nacos = nacos
        self._tell = tell
        self._instances: dict[Agent, dict[Service, Subscription]] = {}
        self._used: dict[Service, tuple[Endpoint, ...]] = {}
        self._tables: dict[Agent, Listener] = {}

    async def endpoints(self, agent: Agent, version: str) -> tuple[Endpoint, ...]:
        """The instances of a version now. Raises RegistryUnavailable."""
        # Asked each time: what was pushed last may be older than what another process has brought over already.
        service, mine = service_of(*agent, version), self._instances.setdefault(agent, {})
        found: tuple[Endpoint, ...] | None = None
        if service not in mine:
            mine[service] = await self._nacos.naming.subscribed(
                service, lambda told: self._changed(agent, service, told)
            )
            found = mine[service].endpoints
        if found is None:
            found = await self._nacos.naming.instances(service)
        self._used[service] = found
        return found

    def keep(self, agent: Agent, versions: Collection[str], *, table: str = "") -> None:
        """Of this agent there are these versions, and a rollout table with this hash ("": none), as was just read: versions
        that are gone are of no interest any more."""
        mine = self._instances.get(agent, {})
        for service in set(mine) - {service_of(*agent, version) for version in versions}:
            mine.pop(service).close()
            self._used.pop(service, None)
        if versions and agent not in self._tables:
            config = own_config(agent.namespace, GROUP, agent.name)
            self._tables[agent] = self._nacos.configs.listen(
                config, lambda _: self._tell(nacos_name(agent.name)), since=table
            )
        elif not versions:
            self._instances.pop(agent, None)
            if agent in self._tables:
                self._tables.pop(agent).close()

    def close(self) -> None:
        """End all subscriptions."""
        for agent in list(self._instances):
            self.keep(agent, ())

    def _changed(self, agent: Agent, service: Service, found: tuple[Endpoint, ...]) -> None:
        if self._used.get(service, found) != found:
            self._tell(nacos_name(agent.name))
