"""Carries a plan out: the only place that changes anything. What is so already is not written."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from parley_operator.caches import OWNS_REPLICAS, Caches
from parley_operator.decision import Event, Plan
from parley_operator.degraded import Problem, with_problem
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import Invalid, NotFound, Stale
from parley_operator.kube.events import Events, Told
from parley_operator.kube.informer import Key
from parley_operator.kube.kinds import AGENT, DEPLOYMENT, SERVICE, TEAM, VERSION, Kind, kind_named, kind_of
from parley_operator.likeness import Path, differences, hash_of, mark_of, marked
from parley_operator.metrics import WRITES
from parley_operator.observed import Observed
from parley_operator.refusals import Again, Refusals, what
from parley_operator.registering import Moved, Registering
from parley_operator.strangers import Strangers
from parley_operator.tables import Name

FINALIZER = "parley.dev/drain"
_HANDOVER = "parley-operator-handover"
"""Field manager that keeps spec.replicas as they are when they cease to be ours."""
_ADDRESSING = 4
"""Services made at once. The API server gives out their addresses one by one, and who waits for that over there may be waiting
when the deadline of the call has come."""


class Applier:
    """Writes by `kube` (which sees to it that only the leader writes), and takes what was written into the caches."""

    def __init__(self, kube: Kube, caches: Caches, registering: Registering | None, events: Events) -> None:
        self._kube = kube
        self._caches = caches
        self._registering = registering
        self._events = events
        self._strangers = Strangers(kube)
        self._addressing = asyncio.Semaphore(_ADDRESSING)
        self._settled: dict[tuple[Kind, Key], tuple[str, Mapping[Path, Any]]] = {}
        """Where the server writes a wanted value in its own way (1000m is 1), by the hash of what was wanted."""
        self._late: dict[Key, Problem] = {}
        """What was refused the last time after an Agent's status had been written: told in it from the start, so that it does
        not say one thing and then the other for as long as that is refused."""

    async def carry_out(self, observed: Observed, plan: Plan) -> Problem | None:
        """Do what the plan says, in its order. What was refused, and is told in the Agent's status, comes back.

        A step that is refused does not keep the rest from being done: each was decided on by what was observed, not on the
        success of those before. Raises Again, ApiUnavailable, NotLeading, RegistryUnavailable.
        """
        agent = dict(observed.agent)
        key = Key(agent["metadata"]["namespace"], agent["metadata"]["name"])
        of = registry_name(observed)
        refused = Refusals()
        for wanted in plan.apply:
            written = await refused.attempt(what(wanted), self.apply(wanted))
            if kind_of(wanted) is AGENT and written is not None:
                if written["metadata"]["generation"] != agent["metadata"]["generation"]:
                    raise Again
                agent["metadata"] = written["metadata"]
        try:
            if self._registering:
                refused.add(await self._registering.before(of, plan))
            if not plan.finalize:
                told = refused.with_late(self._late.get(key))
                await refused.attempt(
                    f"the status of {what(agent)}",
                    self.set_status(AGENT, agent, plan.status, told, observed.now),
                )
            late = len(refused)
            for name, status in plan.version_status.items():
                where = Key(key.namespace, name)
                await refused.attempt(
                    f"the status of AgentVersion {name}", self._version_status(where, status)
                )
            for event in plan.events:
                self._tell(agent, event)
            for ref, replicas in plan.scale:
                await refused.attempt(
                    f"the replicas of {ref.kind} {ref.name}",
                    self._scale(Key(key.namespace, ref.name), replicas),
                )
            if self._registering:
                problem, events = await self._registering.after(of, plan)
                refused.add(problem)
                for event in events:
                    self._tell(agent, event)
            for ref in plan.delete:
                where = Key(key.namespace, ref.name)
                await refused.attempt(
                    f"the deletion of {ref.kind} {ref.name}", self._delete(kind_named(ref.kind), where)
                )
            if plan.finalize:
                await refused.attempt(f"the finalizer of {what(agent)}", self._finalize(agent))
            else:
                await self._tell_late(key, plan, refused, late, observed.now)
        except Moved as error:
            raise Again from error
        return refused.problem

    async def _tell_late(self, key: Key, plan: Plan, refused: "Refusals", late: int, now: float) -> None:
        """Have the Agent's status say too what was refused after it was written, and no more what is not refused any more."""
        before = self._late.pop(key, None)
        problem = refused.since(late)
        if problem is not None:
            self._late[key] = problem
        live = self._caches.agents.get(key)
        if problem != before and live is not None:
            await refused.attempt(
                f"the status of {what(live)}",
                self.set_status(AGENT, live, plan.status, refused.problem, now),
            )

    async def carry_out_team(self, team: Mapping[str, Any], plan: Plan, now: float) -> Problem | None:
        """The same for an AgentTeam, of which a plan says less."""
        refused = Refusals()
        for wanted in plan.apply:
            await refused.attempt(what(wanted), self.apply(wanted))
        for ref in plan.delete:
            where = Key(team["metadata"]["namespace"], ref.name)
            await refused.attempt(
                f"the deletion of {ref.kind} {ref.name}", self._delete(kind_named(ref.kind), where)
            )
        await self.set_status(TEAM, team, plan.status, refused.problem, now)
        return refused.problem

    async def apply(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """Have the object be as wanted; as it is then, or None when it was already. Raises FieldConflict, Invalid, …"""
        kind, meta = kind_of(wanted), wanted["metadata"]
        key = Key(meta["namespace"], meta["name"])
        informer = self._caches.of[kind]
        live = informer.get(key)
        wanted = self._owned(wanted)
        hashed = hash_of(wanted)
        if live is not None and self._is_so(kind, key, wanted, hashed, live):
            return None
        if await self._is_anothers(kind, key, wanted, live):
            said = f"there is a {kind.name} {key.name} that somebody else has made"
            raise Invalid(409, "NotOurs", f"{said}; delete or rename one of the two")
        if live is not None and kind is DEPLOYMENT:
            await self._hand_over(wanted, live)
        sent = marked(wanted, hashed) if "spec" in wanted or kind is not AGENT else wanted
        with informer.writing(key):
            async with self._addressing if kind is SERVICE and live is None else nullcontext():
                written = await self._kube.apply(sent)
            WRITES.labels(kind.name, "applied").inc()
            odd = dict(differences(sent, written))
            self._settled.pop((kind, key), None)
            if odd:
                self._settled[kind, key] = (hashed, odd)
            self._caches.wrote(kind, written, spec="spec" in sent)
        return written

    def forget(self, agent: Key) -> None:
        """The Agent is gone: what was remembered of its objects can go."""
        self._late.pop(agent, None)
        for kind, key in [one for one in self._settled if one[1].namespace == agent.namespace]:
            if self._caches.of[kind].version(key) == "":
                del self._settled[kind, key]

    def _is_so(
        self, kind: Kind, key: Key, wanted: Mapping[str, Any], hashed: str, live: Mapping[str, Any]
    ) -> bool:
        if ("spec" in wanted or kind is not AGENT) and mark_of(live) != hashed:
            return False  # of an Agent of somebody's, only the finalizer is ours
        odd = dict(differences(wanted, live))
        if not odd:
            return True
        known = self._settled.get((kind, key))
        return known is not None and known[0] == hashed and known[1] == odd

    async def _is_anothers(
        self, kind: Kind, key: Key, wanted: Mapping[str, Any], live: Mapping[str, Any] | None
    ) -> bool:
        if kind is not AGENT:
            return live is None and await self._strangers.has(kind, *key)
        if live is None or "spec" not in wanted:
            return False
        ours = {one["uid"] for one in wanted["metadata"]["ownerReferences"]}
        return ours.isdisjoint(one["uid"] for one in live["metadata"].get("ownerReferences") or ())

    def _owned(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the uid of the AgentVersion that owns it, which who planned could not know. Raises NotFound."""
        meta = wanted["metadata"]
        owners = [dict(one) for one in meta.get("ownerReferences") or ()]
        for owner in owners:
            if not owner.get("uid"):
                found = self._caches.versions.get(Key(meta["namespace"], owner["name"]))
                if found is None:
                    raise NotFound(404, "NoOwner", f"there is no AgentVersion {owner['name']} (yet)")
                owner["uid"] = found["metadata"]["uid"]
        return {**wanted, "metadata": {**meta, "ownerReferences": owners}} if owners else wanted

    async def _hand_over(self, wanted: Mapping[str, Any], live: Mapping[str, Any]) -> None:
        """Replicas that cease to be ours stay as many as they are: taken out of what we apply, the server would set
        them to 1 before an autoscaler has set them."""
        owned = (live["metadata"].get("annotations") or {}).get(OWNS_REPLICAS)
        if not owned or "replicas" in wanted["spec"]:
            return
        meta = live["metadata"]
        kept = {
            "apiVersion": DEPLOYMENT.api,
            "kind": DEPLOYMENT.name,
            "metadata": {"namespace": meta["namespace"], "name": meta["name"]},
            "spec": {"replicas": live["spec"].get("replicas", 1)},
        }
        await self._kube.apply(kept, manager=_HANDOVER, force=True)

    async def set_status(
        self,
        kind: Kind,
        live: Mapping[str, Any],
        status: Mapping[str, Any] | None,
        problem: Problem | None,
        now: float,
    ) -> None:
        """Have the object's status be this (None: as it is), with the problem told over it, if there is one, and by an event
        when it is new. Raises Again when the object is not any more as `live` is."""
        meta, before = live["metadata"], live.get("status") or {}
        if problem is not None and not problem.told_in(before):
            self._events.tell(Told(live, "Warning", problem.reason, problem.message))
        wanted = with_problem(
            before if status is None else status, before, problem, generation=meta["generation"], now=now
        )
        if wanted != before:
            await self._write_status(
                kind, Key(meta["namespace"], meta["name"]), meta["resourceVersion"], wanted
            )

    async def _version_status(self, key: Key, status: Mapping[str, Any]) -> None:
        live = self._caches.versions.get(key)
        if live is None:
            raise Again  # it has just been deleted
        if (live.get("status") or {}) != status:
            await self._write_status(VERSION, key, live["metadata"]["resourceVersion"], status)

    async def _write_status(self, kind: Kind, key: Key, version: str, status: Mapping[str, Any]) -> None:
        with self._caches.of[kind].writing(key):
            try:
                written = await self._kube.set_status(kind, *key, version, status)
            except (Stale, NotFound) as error:
                raise Again from error
            WRITES.labels(kind.name, "status").inc()
            self._caches.wrote(kind, written, spec=False)

    def _tell(self, agent: Mapping[str, Any], event: Event) -> None:
        about: Mapping[str, Any] | None = agent
        if event.on:
            about = self._caches.versions.get(Key(agent["metadata"]["namespace"], event.on))
        if about is not None:
            self._events.tell(Told(about, event.type, event.reason, event.message))

    async def _scale(self, key: Key, replicas: int) -> None:
        live = self._caches.of[DEPLOYMENT].get(key)
        if live is None or live["spec"].get("replicas", 1) == replicas:
            return
        try:
            await self._kube.patch(DEPLOYMENT, *key, {"spec": {"replicas": replicas}}, subresource="scale")
        except NotFound:
            return  # it has just been deleted
        WRITES.labels(DEPLOYMENT.name, "scaled").inc()

    async def _delete(self, kind: Kind, key: Key) -> None:
        live = self._caches.of[kind].get(key)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        try:
            await self._kube.delete(kind, *key, uid=live["metadata"]["uid"])
        except Stale as error:
            raise Again from error
        WRITES.labels(kind.name, "deleted").inc()

    async def _finalize(self, agent: Mapping[str, Any]) -> None:
        meta = agent["metadata"]
        left = [one for one in meta.get("finalizers") or () if one != FINALIZER]
        if left == list(meta.get("finalizers") or ()):
            return
        change = {"metadata": {"finalizers": left, "resourceVersion": meta["resourceVersion"]}}
        try:
            await self._kube.patch(AGENT, meta["namespace"], meta["name"], change)
        except Stale as error:
            raise Again from error
        except NotFound:
            return
        WRITES.labels(AGENT.name, "finalized").inc()


def registry_name(observed: Observed) -> Name:
    """What the Agent is called in the registry."""
    meta = observed.agent["metadata"]
    return Name(observed.settings.registry_namespace or meta["namespace"], meta["name"])
