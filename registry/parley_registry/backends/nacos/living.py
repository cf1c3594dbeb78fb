"""Which instances of agents live, as Nacos pushes it."""

from collections.abc import Callable, Collection

from parley_registry.entry import Agent
from parley_registry.nacos.config import Config, Listener
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
        service = service_of(*agent, version)
        found = self._used[service] = await self._nacos.naming.instances(service)
        mine = self._instances.setdefault(agent, {})
        if service not in mine:
            mine[service] = self._nacos.naming.subscribe(
                service, lambda told: self._changed(agent, service, told)
            )
        return found

    def keep(self, agent: Agent, versions: Collection[str], *, has_table: bool = False) -> None:
        """Of this agent there are these versions, and maybe a rollout table, as was just read: versions that are gone are of
        no interest any more."""
        mine = self._instances.get(agent, {})
        for service in set(mine) - {service_of(*agent, version) for version in versions}:
            mine.pop(service).close()
            self._used.pop(service, None)
        if versions and agent not in self._tables:
            config = own_config(agent.namespace, GROUP, agent.name)
            self._tables[agent] = self._nacos.configs.listen(config, self._table_teller(agent, has_table))
        elif not versions:
            self._instances.pop(agent, None)
            if agent in self._tables:
                self._tables.pop(agent).close()

    def close(self) -> None:
        """End all subscriptions."""
        for agent in list(self._instances):
            self.keep(agent, ())

    def _table_teller(self, agent: Agent, has_table: bool) -> Callable[[Config | None], None]:
        first = True

        def told(config: Config | None) -> None:
            nonlocal first
            if not first or config is not None or has_table:
                self._tell(nacos_name(agent.name))
            first = False

        return told

    def _changed(self, agent: Agent, service: Service, found: tuple[Endpoint, ...]) -> None:
        if self._used.get(service) != found:
            self._tell(nacos_name(agent.name))
