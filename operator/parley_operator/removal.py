"""An Agent that is deleted: its tasks may go on for a while, then its pods end, and its cards are withdrawn. Pure."""

from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from parley_operator import remote
from parley_operator.decision import Event, Plan, Scale
from parley_operator.manifests.meta import FINALIZER
from parley_operator.manifests.pod import DRAIN_DELAY, MARGIN, PRE_STOP
from parley_operator.observed import Object, Observed
from parley_operator.resources.agent import AgentSpec, AgentStatus
from parley_operator.resources.base import seconds
from parley_operator.resources.conditions import unclock
from parley_operator.telling import Found, conditions
from parley_operator.versions import versions_of

_WITHDRAWING = 60.0
"""Seconds for which an agent whose pods have ended waits for the registry, to withdraw its cards there."""


_READ = ("runtime", "remote", "deletionDeadline")


def spec_of(agent: Object) -> AgentSpec:
    """The spec of an Agent that is deleted; of one that cannot be read, as after a change of the CRD, what counts at the end:
    nobody is to wait for ever for it to go."""
    told = agent["spec"]
    for kept in (told, {field: told[field] for field in _READ if field in told}):
        with suppress(ValidationError):
            return AgentSpec.read(kept)
    return AgentSpec()


def plan(observed: Observed, spec: AgentSpec, before: AgentStatus) -> Plan:
    """What is to be done now of the end."""
    meta = observed.agent["metadata"]
    if FINALIZER not in (meta.get("finalizers") or ()):
        return Plan()
    begun = unclock(meta["deletionTimestamp"])
    patience = float(meta.get("deletionGracePeriodSeconds") or 0)
    waited = observed.now - begun + patience
    deadline = seconds(spec.deletion_deadline)
    figures = observed.figures
    tasks = None if figures is None else sum(one.open for one in figures.values())
    deployments = {ref: one for ref, one in observed.children.items() if ref.kind == "Deployment"}
    running = any((one.get("status") or {}).get("replicas") for one in deployments.values())
    if running and tasks != 0 and waited < deadline:
        open_ = "its open tasks are not known" if tasks is None else f"{tasks} tasks are open"
        said = f"{open_}; they may go on until {spec.deletion_deadline} after the deletion"
        return Plan(status=_status(observed, before, said), again=2.0)
    scale = tuple(
        Scale(ref, 0) for ref, one in deployments.items() if int(one["spec"].get("replicas", 1)) != 0
    )
    stopping = max(
        (seconds(one.spec.template.grace) for one in versions_of(observed.versions, {})), default=0.0
    )
    ended = deadline + PRE_STOP + DRAIN_DELAY + stopping + MARGIN
    if (running or scale) and waited < ended + _WITHDRAWING:
        return Plan(status=_status(observed, before, "its pods are stopped"), scale=scale, again=2.0)
    if observed.table is None and waited < ended + _WITHDRAWING:
        said = f"its cards cannot be withdrawn yet: {observed.registry_error}"
        return Plan(status=_status(observed, before, said), scale=scale, again=5.0)
    theirs = spec.remote is not None and not remote.ours(observed, spec, before)
    event = Event("Normal", "Removed", "its pods have ended and its cards are withdrawn")
    return Plan(
        events=(event,),
        scale=scale,
        withdraw=bool(observed.published) and not theirs and not observed.elder,
        finalize=True,
    )


def _status(observed: Observed, before: AgentStatus, said: str) -> dict[str, Any] | None:
    found = [
        Found(one.type, {"True": True, "False": False}.get(one.status), one.reason, one.message)
        for one in before.conditions
        if one.type != "Progressing"
    ]
    found.append(Found("Progressing", True, "Deleting", said))
    generation = int(observed.agent["metadata"].get("generation", 0))
    update = {
        "phase": "Deleting",
        "observed_generation": generation,
        "conditions": conditions(found, before.conditions, generation, observed.now),
    }
    after = before.model_copy(update=update).written()
    return after if after != before.written() else None
