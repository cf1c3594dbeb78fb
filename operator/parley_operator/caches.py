"""All that the operator keeps of the API server in memory, and which Agent a change there is about."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from parley_operator.kube.client import MANAGER, Kube
from parley_operator.kube.informer import Informer, Key
from parley_operator.kube.kinds import (
    AGENT,
    AUTOSCALER,
    CHILDREN,
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    TEAM,
    VERSION,
    Kind,
)
from parley_operator.observed import Ref

AGENT_LABEL = "parley.dev/agent"
TEAM_LABEL = "parley.dev/team"
MANAGED = "app.kubernetes.io/managed-by=parley-operator"
OWNS_REPLICAS = "parley.dev/owns-replicas"
"""Annotation, in memory only: the operator's apply has set spec.replicas of the Deployment, and so owns it."""


class Work(NamedTuple):
    """What is to be looked at: an Agent or an AgentTeam."""

    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


class Caches:
    """One watched cache a kind, of some namespaces or all. `changed` is told what is to be looked at again."""

    def __init__(self, kube: Kube, namespaces: Sequence[str], changed: Callable[[Work], None]) -> None:
        self._changed = changed
        self.agents = Informer(kube, AGENT, namespaces, index=_team)
        self.teams = Informer(kube, TEAM, namespaces)
        self.versions = Informer(kube, VERSION, namespaces, index=_agent)
        self.pods = Informer(kube, POD, namespaces, labels=MANAGED, index=_agent, keep=_pod)
        self._children = {
            kind: Informer(kube, kind, namespaces, labels=MANAGED, index=_agent, keep=_KEEP.get(kind, _as_is))
            for kind in (*CHILDREN, CONFIG_MAP)
            if kind is not AUTOSCALER
        }
        # Those of others too: what they scale, we do not.
        self._autoscalers = Informer(kube, AUTOSCALER, namespaces, index=_agent_and_target)
        self._children[AUTOSCALER] = self._autoscalers
        self.of: Mapping[Kind, Informer] = {
            AGENT: self.agents,
            TEAM: self.teams,
            VERSION: self.versions,
            POD: self.pods,
            **self._children,
        }
        self.agents.on_change(self._on_agent)
        self.teams.on_change(lambda key, _: changed(Work("AgentTeam", *key)))
        for informer in (self.versions, self.pods, *self._children.values()):
            informer.on_change(self._on_child)

    @property
    def synced(self) -> bool:
        """Whether all there was at the start is held."""
        return all(informer.synced for informer in self.of.values())

    async def run(self) -> None:
        """Keep up until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.of.values():
                group.create_task(informer.run())

    async def wait(self) -> None:
        """Come back when `synced`."""
        for informer in self.of.values():
            await informer.wait()

    def children(self, agent: Key) -> dict[Ref, dict[str, Any]]:
        """What the operator has made for an Agent, its versions apart."""
        return {
            Ref(kind.name, obj["metadata"]["name"]): obj
            for kind, informer in self._children.items()
            for obj in informer.find(agent.namespace, _mark(agent.name))
        }

    def versions_of(self, agent: Key) -> tuple[dict[str, Any], ...]:
        """The Agent's AgentVersions, by name."""
        return tuple(self.versions.find(agent.namespace, _mark(agent.name)))

    def pods_of(self, agent: Key) -> tuple[dict[str, Any], ...]:
        """The Agent's pods, of which only what tells how they do is kept."""
        return tuple(self.pods.find(agent.namespace, _mark(agent.name)))

    def agents_of(self, team: Key) -> tuple[dict[str, Any], ...]:
        """The Agents that a team has made."""
        return tuple(self.agents.find(team.namespace, _team_mark(team.name)))

    def elder(self, agent: Mapping[str, Any]) -> Key | None:
        """An Agent of that name in another namespace that was there before: where all namespaces publish in one, it has
        the name. None when there is none."""
        meta = agent["metadata"]
        found = [
            (str(one["metadata"].get("creationTimestamp")), key)
            for key in self.agents
            if key.name == meta["name"] and key.namespace != meta["namespace"]
            if (one := self.agents.get(key)) and not (one["spec"].get("remote") or {}).get("agent")
        ]
        first = min(found, default=None)
        before = first and first < (str(meta.get("creationTimestamp")), Key(meta["namespace"], meta["name"]))
        return first[1] if first and before else None

    def scaled_by_others(self, namespace: str, deployments: Iterable[str]) -> frozenset[str]:
        """Those Deployments that an autoscaler is set to which the operator has not made."""
        return frozenset(
            name
            for name in deployments
            if not all(map(_ours, self._autoscalers.find(namespace, f"target:{name}")))
        )

    def wrote(self, kind: Kind, obj: dict[str, Any], *, spec: bool) -> None:
        """Take what the API server answered to a write of ours. An Agent is looked at again when its spec was written, as by
        its team, and its team in any case: what was written is held already when the watch brings it, and is no news then."""
        self.of[kind].wrote(obj)
        if kind is AGENT:
            key = Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
            self._on_agent(key, obj) if spec else self._on_team(key, obj)

    def _on_agent(self, key: Key, obj: Mapping[str, Any]) -> None:
        self._changed(Work("Agent", *key))
        self._on_team(key, obj)

    def _on_team(self, key: Key, obj: Mapping[str, Any]) -> None:
        if team := _label(obj, TEAM_LABEL):
            self._changed(Work("AgentTeam", key.namespace, team))

    def _on_child(self, key: Key, obj: Mapping[str, Any]) -> None:
        agent = _label(obj, AGENT_LABEL)
        if not agent and obj.get("kind") == AUTOSCALER.name:
            target = self._children[DEPLOYMENT].get(Key(key.namespace, _target(obj)))
            agent = _label(target, AGENT_LABEL) if target else ""
        if agent:
            self._changed(Work("Agent", key.namespace, agent))


def _as_is(obj: dict[str, Any]) -> dict[str, Any]:
    return obj


def _label(obj: Mapping[str, Any], name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def _mark(agent: str) -> str:
    return f"agent:{agent}"


def _team_mark(team: str) -> str:
    return f"team:{team}"


def _agent(obj: Mapping[str, Any]) -> Iterable[str]:
    agent = _label(obj, AGENT_LABEL)
    return (_mark(agent),) if agent else ()


def _team(obj: Mapping[str, Any]) -> Iterable[str]:
    team = _label(obj, TEAM_LABEL)
    return (_team_mark(team),) if team else ()


def _target(autoscaler: Mapping[str, Any]) -> str:
    target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    return str(target.get("name", "")) if target.get("kind") == DEPLOYMENT.name else ""


def _agent_and_target(obj: Mapping[str, Any]) -> Iterable[str]:
    # Under an Agent stand only those that we have made: what has our label by chance or malice is not ours to delete.
    return (*(_agent(obj) if _ours(obj) else ()), f"target:{_target(obj)}")


def _ours(obj: Mapping[str, Any]) -> bool:
    return _label(obj, "app.kubernetes.io/managed-by") == MANAGER


def _deployment(obj: dict[str, Any]) -> dict[str, Any]:
    """With whether spec.replicas is ours, which only the fields' managers tell, who are not kept."""
    for entry in obj["metadata"].get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if (entry.get("manager"), entry.get("operation")) == (MANAGER, "Apply") and "f:replicas" in fields:
            annotations = obj["metadata"].get("annotations") or {}
            obj["metadata"]["annotations"] = {**annotations, OWNS_REPLICAS: "true"}
    return obj


_KEEP = {DEPLOYMENT: _deployment}


def _pod(obj: dict[str, Any]) -> dict[str, Any]:
    """Only what tells how the pod does: there may be many."""
    meta, status = obj["metadata"], obj.get("status") or {}
    kept = ("namespace", "name", "uid", "labels", "deletionTimestamp", "ownerReferences")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {field: meta[field] for field in kept if field in meta},
        "status": {
            field: status[field]
            for field in (
                "phase",
                "reason",
                "message",
                "conditions",
                "containerStatuses",
                "initContainerStatuses",
            )
            if field in status
        },
    }
