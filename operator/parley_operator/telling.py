"""What an Agent's status says: phase, conditions and versions, in words that a person understands. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from parley_operator.decision import Event
from parley_operator.manifests.meta import selector
from parley_operator.observed import Object, Settings
from parley_operator.resources.agent import AgentStatus, RolloutState, VersionState
from parley_operator.resources.conditions import Condition, clock
from parley_operator.resources.version import AgentVersionStatus
from parley_operator.versions import Version
from parley_registry.client import Rollout, shifting

_RAISE = "set spec.replicas to 1 or more"


@dataclass(frozen=True, slots=True)
class Found:
    """One condition as it is now: since when, `conditions` finds out."""

    type: str
    holds: bool | None
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """What the status tells of. `fault` is why the spec cannot be carried out, `worries` what is wrong besides, each a
    reason with its words; `table` is None while the registry cannot be reached. `to_zero` says that the spec wants no pods."""

    agent: Object
    settings: Settings
    table: Rollout | None
    state: RolloutState
    versions: Sequence[Version]
    statuses: Mapping[str, AgentVersionStatus]
    replicas: Mapping[str, int]
    url: str
    fault: tuple[str, str] | None = None
    worries: Sequence[tuple[str, str]] = ()
    to_zero: bool = False


def told(of: Story, before: AgentStatus, now: float) -> dict[str, Any]:
    """The whole status of the Agent."""
    generation = int(of.agent["metadata"].get("generation", 0))
    shown = _versions(of)
    serving = of.table.current if of.table and of.table.versions else before.current_version
    canary = shifting.canary(of.table) if of.table and of.table.versions else before.canary_version
    current = next((one for one in of.versions if one.version == serving), None)
    found = _conditions(of, current, serving)
    meta = of.agent["metadata"]
    labels = selector(meta["name"], current.spec.hash) if current else {}
    status = AgentStatus(
        observed_generation=generation,
        phase=_phase(of, found, serving),
        current_version=serving,
        canary_version=canary,
        canary_weight=next((one.weight for one in shown if one.version == canary), 0.0) if canary else None,
        versions=shown,
        rollout=of.state if of.state.target else None,
        url=of.url,
        registry_url=_registry_url(of),
        replicas=current.pods if current else 0,
        ready=_ready(of, current),
        selector=",".join(f"{key}={value}" for key, value in labels.items()),
        conditions=conditions(found, before.conditions, generation, now),
    )
    return status.written()


def conditions(
    found: Sequence[Found], before: Sequence[Condition], generation: int, now: float
) -> tuple[Condition, ...]:
    """Conditions with their times: one whose status is as before has held since then."""
    known = {one.type: one for one in before}
    made = []
    for one in found:
        status = "Unknown" if one.holds is None else str(one.holds)
        since = (
            known[one.type].last_transition_time
            if one.type in known and known[one.type].status == status
            else clock(now)
        )
        made.append(
            Condition.model_validate(
                {
                    "type": one.type,
                    "status": status,
                    "reason": one.reason,
                    "message": one.message[:2048],
                    "lastTransitionTime": since,
                    "observedGeneration": generation,
                }
            )
        )
    return tuple(made)


def _conditions(of: Story, current: Version | None, serving: str) -> list[Found]:
    state = of.state
    accepted = Found("Accepted", True, "Accepted", "the spec can be carried out")
    if of.fault:
        accepted = Found("Accepted", False, *of.fault)
    return [
        accepted,
        _is_ready(of, current, serving),
        _progressing(of),
        _degraded(of),
        _rolled_out(of, state, serving),
    ]


def _is_ready(of: Story, current: Version | None, serving: str) -> Found:
    if current is not None and current.available:
        return Found("Ready", True, "Serving", f"{serving} takes calls with {_pods(current.available)}")
    if of.fault and not serving:
        return Found("Ready", False, *of.fault)
    if of.to_zero:
        return Found("Ready", False, "ScaledToZero", f"spec.replicas is 0: no pod takes calls; {_RAISE}")
    if not serving:
        waits = of.state.message or "the first version waits for its pods"
        trouble = "; ".join(message for _, message in of.worries)
        return Found("Ready", False, "NotServing", f"{waits}: {trouble}" if trouble else waits)
    if current is None:
        return Found("Ready", False, "VersionMissing", f"there is no AgentVersion of {serving}")
    said = of.statuses[current.name].message if current.name in of.statuses else ""
    return Found("Ready", False, "NoPods", f"no pod of {serving} takes calls{': ' if said else ''}{said}")


def _progressing(of: Story) -> Found:
    state = of.state
    reasons = {
        "Waiting": "WaitingForPods",
        "Stepping": "Stepping",
        "Paused": "Paused",
        "Done": "RolledOut",
        "Failed": "AnalysisFailed",
        "Aborted": "Aborted",
    }
    if not state.target:
        return Found("Progressing", False, "NothingToDo", "there is no version to be rolled out yet")
    if of.table is None:
        return Found(
            "Progressing",
            False,
            "RegistryUnreachable",
            "while the registry cannot be reached, all shares stay as they are",
        )
    if of.to_zero and state.phase in ("Waiting", "Stepping"):
        said = f"spec.replicas is 0: without pods {state.version} cannot prove itself and gets no share; {_RAISE}"
        return Found("Progressing", False, "ScaledToZero", said)
    late = next((said for reason, said in of.worries if reason == "ProgressDeadlineExceeded"), "")
    if late:
        return Found("Progressing", False, "ProgressDeadlineExceeded", late)
    moving = state.phase in ("Waiting", "Stepping")
    step = f"step {state.step + 1} of {state.steps}" if state.phase in ("Stepping", "Paused") else ""
    text = ": ".join(part for part in (step, state.message) if part)
    return Found("Progressing", moving, reasons[state.phase], f"{state.version} {text}".strip())


def _degraded(of: Story) -> Found:
    worries = list(of.worries)
    if of.fault:
        worries.insert(0, of.fault)
    if of.state.phase == "Failed":
        worries.append(("AnalysisFailed", f"{of.state.version} was taken back: {of.state.message}"))
    if not worries:
        return Found("Degraded", False, "AsExpected", "")
    return Found("Degraded", True, worries[0][0], "; ".join(message for _, message in worries))


def _rolled_out(of: Story, state: RolloutState, serving: str) -> Found:
    if of.fault:
        return Found("RolledOut", False, *of.fault)
    if state.phase == "Done" and state.version == serving:
        return Found("RolledOut", True, "RolledOut", f"{serving} has all new contexts")
    if of.to_zero and state.phase in ("Waiting", "Stepping"):
        said = f"spec.replicas is 0: {state.version} has no pods to be rolled out with; {_RAISE}"
        return Found("RolledOut", False, "ScaledToZero", said)
    reason = {"Failed": "AnalysisFailed", "Aborted": "Aborted", "Paused": "Paused"}.get(
        state.phase, "InProgress"
    )
    return Found("RolledOut", False, reason, state.message)


def _phase(of: Story, found: Sequence[Found], serving: str) -> str:
    holds = {one.type: one.holds for one in found}
    if holds["Degraded"]:
        return "Degraded"
    if of.state.phase == "Paused":
        return "Paused"
    if not serving:
        return "Pending"
    if holds["Progressing"]:
        return "Progressing"
    return "Ready" if holds["Ready"] else "Pending"


def _versions(of: Story) -> tuple[VersionState, ...]:
    order = {"Current": 0, "Ramping": 1}
    shown = [
        VersionState(
            name=one.name,
            version=one.version,
            state=of.statuses[one.name].state,
            weight=of.statuses[one.name].weight,
            active_tasks=of.statuses[one.name].active_tasks,
            ready=one.available,
            replicas=of.replicas.get(one.name, one.replicas),
        )
        for one in of.versions
        if one.name in of.statuses
    ]
    return tuple(sorted(shown, key=lambda one: order.get(one.state, 2))[:64])


def _ready(of: Story, current: Version | None) -> str:
    if current is None:
        return ""
    return f"{current.available}/{of.replicas.get(current.name, current.replicas)}"


def _registry_url(of: Story) -> str:
    base = of.settings.registry.partition("?")[0].rstrip("/")
    meta = of.agent["metadata"]
    if not base or (of.table is not None and not of.table.versions):
        return ""
    namespace = of.settings.registry_namespace or meta["namespace"]
    return f"{base}/v1/agents/{quote(meta['name'], safe='')}?namespace={quote(namespace, safe='')}"


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def not_accepted(before: AgentStatus, fault: tuple[str, str] | None) -> tuple[Event, ...]:
    """The event of a spec that cannot be carried out, unless the status says the same already."""
    if fault is None or any(
        (one.type, one.status, one.reason, one.message) == ("Accepted", "False", fault[0], fault[1][:2048])
        for one in before.conditions
    ):
        return ()
    return (Event("Warning", fault[0], f"not accepted: {fault[1]}"[:1000]),)


def refused(agent: Object, before: AgentStatus, fault: tuple[str, str], now: float) -> dict[str, Any]:
    """The status of an Agent whose spec cannot be read: all else stays as it is."""
    kept = {one.type: one for one in before.conditions}
    found = [
        Found("Accepted", False, *fault),
        *(
            Found(one.type, {"True": True, "False": False}.get(one.status), one.reason, one.message)
            for one in kept.values()
            if one.type not in ("Accepted", "Degraded", "RolledOut")
        ),
        Found("Degraded", True, *fault),
        Found("RolledOut", False, *fault),
    ]
    if "Ready" not in kept:
        found.insert(1, Found("Ready", False, *fault))
    generation = int(agent["metadata"].get("generation", 0))
    update = {
        "phase": "Degraded",
        "observed_generation": generation,
        "conditions": conditions(found, before.conditions, generation, now),
    }
    return before.model_copy(update=update).written()
