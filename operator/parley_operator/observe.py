"""Everything that is known of an Agent, from the caches, the registry and its pods. What cannot be reached is left open: that
is no error, it is what there is to plan by."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from parley_core.errors import ParleyError
from parley_operator import asking, removal
from parley_operator.caches import Caches
from parley_operator.checks import Checks
from parley_operator.hosts import Hosts, HostUnavailable
from parley_operator.identity import references
from parley_operator.kube.informer import Key
from parley_operator.observed import Check, Observed, Ref, Remote, Settings
from parley_operator.references import References
from parley_operator.resources.agent import AgentSpec, status_of
from parley_operator.tables import Kept, Name, Tables
from parley_registry.client import VersionFigures, shifting


class Observer:
    """Observes Agents. `tables` is None when there is no registry."""

    def __init__(
        self,
        caches: Caches,
        references: References,
        tables: Tables | None,
        hosts: Hosts,
        checks: Checks,
        settings: Callable[[], Settings],
    ) -> None:
        self._caches = caches
        self._references = references
        self._tables = tables
        self._hosts = hosts
        self._checks = checks
        self._settings = settings
        self._names: dict[Key, Name] = {}
        """What each Agent was called in the registry the last time."""

    async def observe(self, key: Key) -> Observed | None:
        """What is known of the Agent; None when there is none. Raises pydantic.ValidationError for an Agent that the
        API server should have refused; ApiUnavailable, ApiError when a Secret or ConfigMap cannot be read."""
        agent = self._caches.agents.get(key)
        if agent is None:
            self._references.forget(key)
            if self._tables:
                await self._tables.drop(self._names.pop(key, self._name(key, None)))
            return None
        deleting = "deletionTimestamp" in agent["metadata"]
        spec = removal.spec_of(agent) if deleting else AgentSpec.read(agent["spec"])
        settings = self._settings()
        secrets: Mapping[str, str] = {}
        configmaps: Mapping[str, Mapping[str, str]] = {}
        if deleting:  # nothing is made any more, and what cannot be read keeps nobody from going
            self._references.forget(key)
        else:
            needed = references(spec, settings)
            secrets, configmaps = await self._references.read(key, needed.secrets, needed.configmaps)
        children = self._caches.children(key)
        versions = self._caches.versions_of(key)
        name = self._names[key] = self._name(key, spec)
        # Before there is a version of it, nothing that the operator has made can have published anything.
        new = not versions and not deleting and spec.runtime != "remote"
        kept, registry_error = await self._registry(name, new=new)
        table = kept.table if kept else None
        shared = settings.registry_namespace and not (spec.remote and spec.remote.agent)
        elder = self._caches.elder(agent) if shared else None
        figures, figures_error = None, ""
        if asking.figures(spec, len(versions), table, deleting=deleting):
            window = asking.window(status_of(agent), time.time())
            figures, figures_error = await self._figures(key, window, children)
        checks: Mapping[str, Check] = {}
        if table is not None and (questions := asking.questions(spec, table)):
            checks = await self._checks.ask(agent, table.current, shifting.canary(table), questions)
        deployments = [ref.name for ref in children if ref.kind == "Deployment"]
        return Observed(
            now=time.time(),
            agent=agent,
            settings=settings,
            versions=versions,
            children=children,
            pods=self._caches.pods_of(key),
            secrets=secrets,
            configmaps=configmaps,
            scaled_by_others=self._caches.scaled_by_others(key.namespace, deployments),
            table=table,
            registry_error=registry_error,
            published=frozenset(one.version for one in kept.entries) if kept else frozenset(),
            latest=kept.latest if kept else "",
            elder="/".join(elder) if elder else "",
            figures=figures,
            figures_error=figures_error,
            remote=_remote(kept) if spec.runtime == "remote" else None,
            checks=checks,
        )

    def _name(self, key: Key, spec: AgentSpec | None) -> Name:
        name = spec.remote.agent if spec and spec.remote and spec.remote.agent else key.name
        return Name(self._settings().registry_namespace or key.namespace, name)

    async def _registry(self, name: Name, *, new: bool) -> tuple[Kept | None, str]:
        if self._tables is None:
            return None, "the operator was given no registry"
        try:
            return await self._tables.read(name, new=new), ""
        except ParleyError as error:
            return None, str(error)

    async def _figures(
        self, key: Key, window: float, children: Mapping[Ref, Mapping[str, Any]]
    ) -> tuple[Mapping[str, VersionFigures] | None, str]:
        service = children.get(Ref("Service", key.name))
        ready = any(
            (child.get("status") or {}).get("readyReplicas", 0)
            for ref, child in children.items()
            if ref.kind == "Deployment"
        )
        if service is None or not ready:
            return None, "no pod is ready"
        try:
            return await self._hosts.figures(service, window), ""
        except HostUnavailable as error:
            return None, str(error)


def _remote(kept: Kept | None) -> Remote | None:
    if kept is None or not kept.entries:
        return None
    entry = next((one for one in kept.entries if one.latest), kept.entries[0])
    url = entry.instances[0].url if entry.instances else ""
    return Remote(entry.version, entry.health, url, entry.source)
