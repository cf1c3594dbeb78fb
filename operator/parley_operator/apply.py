"""Carries a plan out: the only place that changes anything. What is so already is not written."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from parley_operator.caches import OWNS_REPLICAS, Caches
from parley_operator.decision import Event, Plan
from parley_operator.degraded import Problem, with_problem
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiError, ApiFailed, Invalid, NotFound, Stale
from parley_operator.kube.events import Events, Told
from parley_operator.kube.informer import Key
from parley_operator.kube.kinds import AGENT, DEPLOYMENT, TEAM, VERSION, Kind, kind_named, kind_of
from parley_operator.likeness import Path, differences, hash_of, mark_of, marked
from parley_operator.metrics import WRITES
from parley_operator.observed import Observed
from parley_operator.registering import Moved, Registering
from parley_operator.strangers import Strangers
from parley_operator.tables import Name

FINALIZER = "parley.dev/drain"
_HANDOVER = "parley-operator-handover"
"""Field manager that keeps spec.replicas as they are when they cease to be ours."""


class Again(Exception):
    """Something was changed by others since it was observed: observe and plan again, soon."""


class Applier:
    """Writes by `kube` (which sees to it that only the leader writes), and takes what was written into the caches."""

    def __init__(self, kube: Kube, caches: Caches, registering: Registering | None, events: Events) -> None:
        self._kube = kube
        self._caches = caches
        self._registering = registering
        self._events = events
        self._strangers = Strangers(kube)
        self._settled: dict[tuple[Kind, Key], tuple[str, Mapping[Path, Any]]] = {}
        """Where the server writes a wanted value in its own way (1000m is 1), by the hash of what was wanted."""

    async def carry_out(self, observed: Observed, plan: Plan) -> Problem | None:
        """Do what the plan says, in its order. What could not be done, and is told in the Agent's status, comes back.

        An object that is refused does not keep the rest from being done: each step was decided on by what was observed,
        not on the success of those before. Raises Again, ApiUnavailable, ApiError, NotLeading, RegistryUnavailable.
        """
        agent = dict(observed.agent)
        namespace = agent["metadata"]["namespace"]
        of = registry_name(observed)
        problem: Problem | None = None
        for wanted in plan.apply:
            written, refused = await self._try(wanted)
            problem = problem or refused
            if kind_of(wanted) is AGENT and written is not None:
                if written["metadata"]["generation"] != agent["metadata"]["generation"]:
                    raise Again
                agent["metadata"] = written["metadata"]
        try:
            if self._registering:
                refused = await self._registering.before(of, plan)
                problem = problem or refused
            if not plan.finalize:
                await self.set_status(AGENT, agent, plan.status, problem, observed.now)
            for name, status in plan.version_status.items():
                await self._version_status(Key(namespace, name), status)
            for event in plan.events:
                self._tell(agent, event)
            for ref, replicas in plan.scale:
                await self._scale(Key(namespace, ref.name), replicas)
            if self._registering:
                refused = await self._registering.after(of, plan)
                problem = problem or refused
            for ref in plan.delete:
                await self._delete(kind_named(ref.kind), Key(namespace, ref.name))
            if plan.finalize:
                await self._finalize(agent)
        except Moved as error:
            raise Again from error
        return problem

    async def carry_out_team(self, team: Mapping[str, Any], plan: Plan, now: float) -> Problem | None:
        """The same for an AgentTeam, of which a plan says less."""
        problem: Problem | None = None
        for wanted in plan.apply:
            _, refused = await self._try(wanted)
            problem = problem or refused
        await self.set_status(TEAM, team, plan.status, problem, now)
        for ref in plan.delete:
            await self._delete(kind_named(ref.kind), Key(team["metadata"]["namespace"], ref.name))
        return problem

    async def _try(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Problem | None]:
        try:
            return await self.apply(wanted), None
        except Stale as error:
            raise Again from error
        except (ApiError, ApiFailed) as error:
            # Some of what it cannot read the API server calls a failure of its own.
            return None, Problem.of(error, wanted)

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
            what = f"there is a {kind.name} {key.name} that somebody else has made"
            raise Invalid(409, "NotOurs", f"{what}; delete or rename one of the two")
        if live is not None and kind is DEPLOYMENT:
            await self._hand_over(wanted, live)
        sent = marked(wanted, hashed) if "spec" in wanted or kind is not AGENT else wanted
        written = await self._kube.apply(sent)
        WRITES.labels(kind.name, "applied").inc()
        odd = dict(differences(sent, written))
        self._settled.pop((kind, key), None)
        if odd:
            self._settled[kind, key] = (hashed, odd)
        self._caches.wrote(kind, written, spec=True)
        return written

    def forget(self, agent: Key) -> None:
        """The Agent is gone: what was remembered of its objects can go."""
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
        """Have the object's status be this (None: as it is), with the problem told over it, if there is one. Raises
        Again when the object is not any more as `live` is."""
        meta, before = live["metadata"], live.get("status") or {}
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
        with suppress(NotFound):
            await self._kube.patch(DEPLOYMENT, *key, {"spec": {"replicas": replicas}}, subresource="scale")
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
