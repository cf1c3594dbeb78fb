"""All parts of one operator, put together; it decides nothing."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from parley_core.bearer import bearer
from parley_operator.apply import Applier
from parley_operator.caches import Caches, Work
from parley_operator.checks import Checks
from parley_operator.health import Health
from parley_operator.hosts import Hosts
from parley_operator.issuer import Issuer
from parley_operator.kube.access import Access
from parley_operator.kube.client import Kube
from parley_operator.kube.events import Events
from parley_operator.kube.informer import Key
from parley_operator.kube.lease import Leadership, Times
from parley_operator.kube.wire import Wire
from parley_operator.loop import Loop, everything
from parley_operator.observe import Observer
from parley_operator.observed import Settings
from parley_operator.options import Options
from parley_operator.plan import plan
from parley_operator.reconcile import Agents, Teams
from parley_operator.references import References
from parley_operator.registering import Registering
from parley_operator.tables import Name, Tables

_log = logging.getLogger(__name__)


class Operator:
    """One process. All that it keeps of the cluster it keeps whether it leads or not, so that it can lead at once."""

    def __init__(self, options: Options, access: Access) -> None:
        self._options = options
        self._access = access
        self._lost = asyncio.Event()
        self._issuer: Issuer | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop, then give the lease away. Raises ConfigurationError, KubeError when it cannot begin."""
        options = self._options
        identity = f"{options.identity or 'parley-operator'}-{secrets.token_hex(4)}"
        token = bearer(file=options.token_file)
        async with AsyncExitStack() as stack:
            wire = await stack.enter_async_context(Wire(self._access, connections=2 * options.workers))
            reading, where = Kube(wire), options.namespace or self._access.namespace
            times = Times(options.lease, options.lease_margin, options.lease_retry)
            leadership = Leadership(reading, where, options.lease_name, identity, times)
            writing = Kube(wire, left=leadership.left)
            hosts = await stack.enter_async_context(
                Hosts(options.host_address, token=bearer(file=options.agent_token_file))
            )
            checks = await stack.enter_async_context(Checks())

            loop = Loop(workers=options.workers, resync=options.resync)
            caches = Caches(reading, options.namespaces, loop.add)
            references = References(reading, lambda key: loop.add(Work("Agent", *key)))
            events = Events(writing, identity)
            tables = None
            if options.registry:
                tables = Tables(options.registry, token, lambda name: self._in_registry(name, caches, loop))
                await stack.enter_async_context(tables.opened())
            if options.token_keys:
                self._issuer = Issuer(wire, writing, where, options.token_keys)
                await self._issuer.refresh()
            observer = Observer(caches, references, tables, hosts, checks, self._settings)
            applier = Applier(writing, caches, Registering(tables) if tables else None, events)
            loop.reconcilers["Agent"] = Agents(caches, observer, plan, applier)
            loop.reconcilers["AgentTeam"] = Teams(caches, applier)

            health = Health(options.listen, lambda: "" if caches.synced else "the caches are being filled")
            await stack.enter_async_context(health)
            _log.info("%s serves its health at port %d", identity, health.port)

            async def lead() -> None:
                await caches.wait()
                async with asyncio.TaskGroup() as group:
                    group.create_task(references.run())
                    group.create_task(events.run())
                    group.create_task(loop.run(lambda: everything(caches)))
                    if tables:
                        group.create_task(tables.run())
                    if self._issuer:
                        group.create_task(self._issuer.run())

            async with asyncio.TaskGroup() as group:
                following = [
                    group.create_task(caches.run()),
                    group.create_task(leadership.run(self._lost.set)),
                    group.create_task(self._lead(leadership, lead)),
                ]
                await stop.wait()
                for task in reversed(following):  # first of all nothing more is written
                    task.cancel()
                    await asyncio.wait([task])
            await leadership.release()

    async def _lead(self, leadership: Leadership, lead: Callable[[], Awaitable[None]]) -> None:
        """Have `lead` run whenever, and as long as, this process leads."""
        while True:
            await leadership.leads.wait()
            self._lost.clear()
            if not leadership.leads.is_set():
                continue  # it was over before it began
            leading = asyncio.ensure_future(lead())
            lost = asyncio.ensure_future(self._lost.wait())
            try:
                await asyncio.wait([leading, lost], return_when=asyncio.FIRST_COMPLETED)
                if leading.done():
                    await leading  # it ends by an error only, and then the process with it
            finally:
                for task in (leading, lost):
                    task.cancel()
                await asyncio.wait([leading, lost])

    def _settings(self) -> Settings:
        keys = self._issuer.keys if self._issuer else None
        return self._options.settings(keys.issuer, keys.jwks) if keys else self._options.settings()

    def _in_registry(self, name: Name, caches: Caches, loop: Loop) -> None:
        """Something changed of an agent in the registry: look at the Agents that it may be."""
        namespaces = [name.namespace]
        if self._options.registry_namespace:
            namespaces = [key.namespace for key in caches.agents if key.name == name.name]
        for namespace in namespaces:
            if caches.agents.version(Key(namespace, name.name)):
                loop.add(Work("Agent", namespace, name.name))
