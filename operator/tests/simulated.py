"""A simulated cluster for the plan: an API server, pods, a registry and tasks, as far as a plan can see them.

It is a model, not a fake of any of them: `World.observe` is what an operator would see, `World.operations` are the writes of a
plan one by one, so that a test can end between any two, and `World.tick` lets the cluster go on.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from parley_operator.observed import Observed, Ref, Settings
from parley_operator.plan import Plan, plan
from parley_operator.resources.agent import AgentSpec, AgentStatus
from parley_registry.client import Rollout, VersionFigures, shifting
from parley_registry.rollout import check_rollout

NAME, NAMESPACE = "coder", "team"
START = 1_800_000_000.0
CARD = {"description": "Writes code.", "skills": [{"id": "code", "name": "Code", "tags": ["x"]}]}
SETTINGS = Settings(image="parley:1", registry="http://registry:8420", jwks="{}")


class Conflict(Exception):
    """A write was refused because what it was decided by has changed."""


def spec(image: str = "one", **more: Any) -> dict[str, Any]:
    """The spec of an Agent with an image; images that begin with `dead` never start, those with `bad` fail their tasks."""
    return {"runtime": "native", "executor": "coder:Coder", "image": image, "card": {"inline": CARD}} | more


@dataclass
class Work:
    """What the tasks of one version do."""

    open: int = 0
    completed: int = 0
    failed: int = 0


@dataclass
class World:
    """One Agent's world. Everything in it may be changed by a test."""

    agent: dict[str, Any]
    now: float = START
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=lambda: {"parley-platform": "h1"})
    configmaps: dict[str, dict[str, str]] = field(default_factory=dict)
    table: Rollout = field(default_factory=lambda: Rollout(NAMESPACE, NAME))
    tables: list[Rollout] = field(default_factory=list)
    published: set[str] = field(default_factory=set)
    latest: str = ""
    registry_up: bool = True
    work: dict[str, Work] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    """Images whose pods take no calls."""
    events: list[tuple[str, str]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    gone: bool = False
    serial: int = 0

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "World":
        """A cluster in which somebody has just applied an Agent."""
        meta = {"name": NAME, "namespace": NAMESPACE, "uid": "u1", "generation": 1, "resourceVersion": "1"}
        return cls(agent={"metadata": meta, "spec": dict(spec)})

    # -- what people do

    def change(self, spec: Mapping[str, Any]) -> None:
        """Somebody applies another spec."""
        if spec != self.agent["spec"]:
            self.agent["spec"] = dict(spec)
            self.agent["metadata"]["generation"] += 1
            self._touch(self.agent)

    def delete(self) -> None:
        """Somebody deletes the Agent."""
        self.agent["metadata"].setdefault("deletionTimestamp", "2027-01-15T08:00:00Z")
        self._touch(self.agent)

    def by_hand(self, change: Callable[[Rollout], Rollout]) -> None:
        """Somebody changes the rollout table with `parley rollout`."""
        changed = change(self.table)
        if changed != self.table:
            self._set_table(changed)

    # -- what the operator does

    def observe(self) -> Observed:
        """All that can be seen now."""
        figures = self.figures() if any(self._available(name) for name in self.versions) else None
        return Observed(
            now=self.now,
            agent=deepcopy(self.agent),
            settings=SETTINGS,
            versions=tuple(deepcopy(list(self.versions.values()))),
            children=deepcopy(self.children),
            secrets=dict(self.secrets),
            configmaps=deepcopy(self.configmaps),
            table=self.table if self.registry_up else None,
            registry_error="" if self.registry_up else "connection refused",
            published=frozenset(self.published) if self.registry_up else frozenset(),
            latest=self.latest if self.registry_up else "",
            figures=figures,
            figures_error="" if figures is not None else "no pod is ready",
        )

    def figures(self) -> dict[str, VersionFigures]:
        """How the versions do."""
        return {
            version: VersionFigures(
                version,
                workers=self._available(self._name(version)),
                working=work.open,
                ended={"completed": work.completed, "failed": work.failed},
            )
            for version, work in self.work.items()
        }

    def operations(
        self, of: Plan, seen: str = "", versions: Mapping[str, str] | None = None
    ) -> list[tuple[str, Callable[[], None]]]:
        """The writes of a plan, each with what it is, in their order. Raise Conflict where the real ones would: `seen` and
        `versions` are the resourceVersions of the Agent and its versions that it was planned by, by default those now."""
        found: list[tuple[str, Callable[[], None]]] = []
        for wanted in of.apply:
            found.append((f"apply {wanted['kind']}", lambda wanted=wanted: self._apply(wanted)))
        if of.table is not None:
            table = of.table
            found.append(("table", lambda: self._guarded(table)))
        if of.status is not None:
            found.append(("status", lambda: self._status(of.status, seen)))
        for name, status in of.version_status.items():
            at = (versions or {}).get(name) or self._revision(name)
            found.append(
                (f"status of {name}", lambda name=name, status=status, at=at: self._version(name, status, at))
            )
        if of.events:
            found.append(
                ("events", lambda: self.events.extend((one.reason, one.message) for one in of.events))
            )
        for ref, replicas in of.scale:
            found.append((f"scale {ref.name}", lambda ref=ref, count=replicas: self._scale(ref, count)))
        if of.latest:
            found.append(("latest", lambda: setattr(self, "latest", of.latest)))
        for version in of.unpublish:
            found.append((f"unpublish {version}", lambda version=version: self._unpublish(version)))
        if of.withdraw:
            found.append(("withdraw", self._withdraw))
        for ref in of.delete:
            found.append((f"delete {ref.kind} {ref.name}", lambda ref=ref: self._delete(ref)))
        if of.finalize:
            found.append(("finalize", lambda: setattr(self, "gone", True)))
        return found

    def carry_out(self, of: Plan, by: Observed | None = None, most: int | None = None) -> bool:
        """Do what a plan says, by what was observed for it (by default all is as it is now); of its writes at most so many,
        then the operator has ended. False when not all was done."""
        if by is None:
            operations = self.operations(of)
        else:
            seen = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in by.versions}
            operations = self.operations(of, by.agent["metadata"]["resourceVersion"], seen)
        for number, (what, write) in enumerate(operations):
            if most is not None and number >= most:
                return False
            try:
                write()
            except Conflict:
                return False
            self.writes.append(what)
        return True

    def reconcile(self) -> Plan:
        """Observe, plan and do it."""
        made = plan(self.observe())
        self.carry_out(made)
        return made

    def settle(self, seconds: float = 60.0, step: float = 1.0) -> None:
        """Go on for so long, the operator looking every `step` seconds."""
        until = self.now + seconds
        while self.now < until and not self.gone:
            self.reconcile()
            self.tick(step)

    # -- what the cluster does

    def tick(self, seconds: float = 1.0) -> None:
        """Time passes: pods start and end, and publish what they are."""
        self.now += seconds
        for ref, one in self.children.items():
            if ref.kind != "Deployment":
                continue
            replicas = one["spec"].get("replicas", 1)
            alive = 0 if self._image(ref.name) in self.dead or "dead" in self._image(ref.name) else replicas
            one["status"] = {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": alive}
            if alive and self.registry_up and not self.gone:
                version = self.versions[ref.name]["spec"]["version"]
                self.published.add(version)
                self.latest = self.latest or version
                self.work.setdefault(version, Work())

    def serve(self, tasks: int) -> None:
        """So many tasks begin in new contexts and end, by the weights, good or bad as their version is."""
        for row in self.table.versions:
            share = round(tasks * row.weight / 100)
            work = self.work.setdefault(row.version, Work())
            if "bad" in self._image(self._name(row.version)):
                work.failed += share
            else:
                work.completed += share

    # -- looking at it

    @property
    def status(self) -> AgentStatus:
        return AgentStatus.read(self.agent.get("status") or {})

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(one for one in self.status.conditions if one.type == kind)
        return found.status, found.reason

    def version(self, image: str) -> str:
        """The version that an image is published as; "" when there is no AgentVersion of it."""
        return next(
            (one["spec"]["version"] for one in self.versions.values() if _image(one) == image),
            "",
        )

    def replicas(self, image: str) -> int:
        """Pods that a version is to have."""
        found = self.children.get(Ref("Deployment", self._name(self.version(image))))
        return found["spec"].get("replicas", 1) if found else 0

    def shares(self) -> dict[str, float]:
        """Shares of the new contexts by image."""
        return {self._image(self._name(one.version)): one.weight for one in self.table.versions if one.weight}

    def states(self) -> dict[str, str]:
        """States in the table by image."""
        return {self._image(self._name(one.version)): one.state for one in self.table.versions}

    # -- writes

    def _apply(self, wanted: Mapping[str, Any]) -> None:
        kind, meta = wanted["kind"], wanted["metadata"]
        if kind == "Agent":
            self.agent["metadata"]["finalizers"] = meta["finalizers"]
            return self._touch(self.agent)
        if kind == "AgentVersion":
            self.serial += 1
            made = {**deepcopy(dict(wanted)), "status": {}}
            made["metadata"] |= {
                "uid": f"v{self.serial}",
                "resourceVersion": "1",
                "creationTimestamp": f"2027-01-01T00:00:00Z{self.serial:06}",
            }
            self.versions.setdefault(meta["name"], made)
            return None
        ref = Ref(kind, meta["name"])
        owner = meta["ownerReferences"][0]
        if owner["kind"] == "AgentVersion" and owner["name"] not in self.versions:
            raise Conflict
        live = self.children.get(ref, {})
        fresh = deepcopy(dict(wanted))
        if kind == "Deployment":
            fresh["spec"]["replicas"] = live.get("spec", {}).get("replicas", 1)
            fresh["status"] = live.get("status", {})
        self.children[ref] = fresh
        return None

    def _guarded(self, table: Rollout) -> None:
        if not self.registry_up or table.revision != self.table.revision:
            raise Conflict
        self._set_table(table)

    def _set_table(self, table: Rollout) -> None:
        check_rollout(table, self.published)
        self.table = replace(table, revision=self.table.revision + 1)
        self.tables.append(self.table)

    def _status(self, status: Mapping[str, Any] | None, seen: str) -> None:
        if seen and self.agent["metadata"]["resourceVersion"] != seen:
            raise Conflict
        self.agent["status"] = deepcopy(dict(status or {}))
        self._touch(self.agent)

    def _version(self, name: str, status: Mapping[str, Any], seen: str) -> None:
        if self._revision(name) != seen:
            raise Conflict
        self.versions[name]["status"] = deepcopy(dict(status))
        self._touch(self.versions[name])

    def _revision(self, name: str) -> str:
        return self.versions[name]["metadata"]["resourceVersion"] if name in self.versions else ""

    def _scale(self, ref: Ref, count: int) -> None:
        if ref in self.children:
            self.children[ref]["spec"]["replicas"] = count

    def _unpublish(self, version: str) -> None:
        if not self.registry_up or self._pods(self._name(version)) or self.latest == version:
            raise Conflict
        self.published.discard(version)

    def _withdraw(self) -> None:
        if self.registry_up:
            self.published.clear()
            self.table = Rollout(NAMESPACE, NAME)

    def _delete(self, ref: Ref) -> None:
        if ref.kind == "AgentVersion":
            self.versions.pop(ref.name, None)
            self.children = {
                one: obj
                for one, obj in self.children.items()
                if obj["metadata"]["ownerReferences"][0]["name"] != ref.name
                or obj["metadata"]["ownerReferences"][0]["kind"] != "AgentVersion"
            }
        else:
            self.children.pop(ref, None)

    def _touch(self, obj: dict[str, Any]) -> None:
        meta = obj["metadata"]
        meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)

    def _name(self, version: str) -> str:
        return f"{NAME}-{version.rpartition('+')[2]}"

    def _image(self, name: str) -> str:
        return _image(self.versions[name]) if name in self.versions else name

    def _available(self, name: str) -> int:
        return self._deployment(name).get("availableReplicas", 0)

    def _pods(self, name: str) -> int:
        return self._deployment(name).get("replicas", 0)

    def _deployment(self, name: str) -> dict[str, Any]:
        found = self.children.get(Ref("Deployment", name))
        return (found or {}).get("status") or {}


def _image(version: Mapping[str, Any]) -> str:
    return str(version["spec"]["template"]["image"])


def promoted(table: Rollout) -> Rollout:
    """`parley rollout promote`."""
    return shifting.promote(table) if shifting.canary(table) else table


def aborted(table: Rollout) -> Rollout:
    """`parley rollout abort`."""
    return shifting.abort(table) if shifting.canary(table) else table


def is_valid(told: Mapping[str, Any]) -> bool:
    """Whether the models take a spec."""
    AgentSpec.read(told)
    return True
