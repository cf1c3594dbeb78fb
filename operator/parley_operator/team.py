"""From an AgentTeam to its five Agents, and back to what is said of it: pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from pydantic import ValidationError

from parley_operator.decision import Plan
from parley_operator.manifests.meta import AGENT, FINALIZER, MANAGER, Manifest, owner
from parley_operator.observed import Object, Ref
from parley_operator.resources.agent import status_of
from parley_operator.resources.base import API_VERSION, GROUP
from parley_operator.resources.team import ROLES, AgentTeamSpec, AgentTeamStatus, Member, TeamMember
from parley_operator.telling import Found, conditions

TEAM = f"{GROUP}/team"
_ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True, slots=True)
class ObservedTeam:
    """What is known of one AgentTeam: itself, and the Agents that it owns, by name."""

    now: float
    team: Object
    agents: Mapping[str, Object] = field(default_factory=dict)


def plan_team(observed: ObservedTeam) -> Plan:
    """What is to be done now: Agents to be applied and deleted, and the AgentTeam's status."""
    team = observed.team
    before = _status(team)
    generation = int(team["metadata"].get("generation", 0))
    if "deletionTimestamp" in team["metadata"]:
        return Plan()
    try:
        spec = AgentTeamSpec.read(team["spec"])
    except ValidationError as error:
        faults = "; ".join(f"spec.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        found = [
            Found("Accepted", False, "SpecInvalid", faults),
            Found("Degraded", True, "SpecInvalid", faults),
        ]
        update = {
            "phase": "Degraded",
            "observed_generation": generation,
            "conditions": conditions(found, before.conditions, generation, observed.now),
        }
        return _with(Plan(), before, before.model_copy(update=update))
    wanted = tuple(_agent(team, spec, role) for role in ROLES)
    names = {one["metadata"]["name"] for one in wanted}
    made = Plan(
        apply=wanted,
        delete=tuple(Ref("Agent", name) for name in sorted(observed.agents.keys() - names)),
    )
    return _with(made, before, _told(observed, before, generation))


def _with(plan: Plan, before: AgentTeamStatus, after: AgentTeamStatus) -> Plan:
    status = after.written() if after != before else None
    return Plan(apply=plan.apply, delete=plan.delete, status=status)


def _agent(team: Object, spec: AgentTeamSpec, role: str) -> Manifest:
    """The Agent of a role."""
    meta = team["metadata"]
    member: Member = getattr(spec.members, role)
    everyone = [f"{meta['name']}-{one}" for one in ROLES]
    called = everyone[1:] if role == _ORCHESTRATOR else everyone[:1]  # which push to who has asked
    resources = member.resources or spec.resources
    scaled: dict[str, Any] = {}
    if member.autoscaling is not None:
        scaled["autoscaling"] = member.autoscaling.written()
    elif (replicas := member.replicas if member.replicas is not None else spec.replicas) is not None:
        scaled["replicas"] = replicas
    said = {
        "runtime": "native",
        "version": member.version or spec.version,
        "executor": member.executor or f"parley_agents.{role}:{role.capitalize()}",
        "image": member.image or spec.image,
        "card": {"inline": dict(_card(role))},
        "env": [one.written() for one in (*spec.env, *member.env)],
        "envFrom": [one.written() for one in spec.env_from],
        "files": [one.written() for one in spec.files],
        "resources": resources.written(),
        "placement": spec.placement.written(),
        "queue": member.queue.written() if member.queue is not None else None,
        "rollout": spec.rollout.written(),
        "platform": spec.platform.written(),
        "security": {"network": {"agents": called, "hosts": [one.written() for one in spec.hosts]}},
        **scaled,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Agent",
        "metadata": {
            "name": f"{meta['name']}-{role}",
            "namespace": meta["namespace"],
            "labels": {
                "app.kubernetes.io/name": f"{meta['name']}-{role}",
                "app.kubernetes.io/managed-by": MANAGER,
                "app.kubernetes.io/part-of": meta["name"],
                TEAM: meta["name"],
                AGENT: f"{meta['name']}-{role}",
            },
            "finalizers": [FINALIZER],
            "ownerReferences": [owner("AgentTeam", meta["name"], meta["uid"])],
        },
        "spec": {name: value for name, value in said.items() if value not in (None, [], {})},
    }


def _told(observed: ObservedTeam, before: AgentTeamStatus, generation: int) -> AgentTeamStatus:
    name = observed.team["metadata"]["name"]
    members, ready, worries, moving = [], 0, [], False
    url = ""
    for role in ROLES:
        agent = observed.agents.get(f"{name}-{role}", {})
        status = status_of(agent)
        holds = {one.type: one for one in status.conditions}
        current = status.observed_generation == (agent.get("metadata") or {}).get("generation")
        ready += "Ready" in holds and holds["Ready"].status == "True"
        if "Degraded" in holds and holds["Degraded"].status == "True":
            worries.append(f"{name}-{role}: {holds['Degraded'].message}")
        moving = moving or not current or ("RolledOut" in holds and holds["RolledOut"].status != "True")
        members.append(
            TeamMember(
                role=role,
                agent=f"{name}-{role}",
                phase=status.phase,
                current_version=status.current_version,
            )
        )
        if role == _ORCHESTRATOR:
            url = status.url
    all_ready = ready == len(ROLES)
    waits = ", ".join(one.agent for one in members if one.phase not in ("Ready", "Progressing", "Paused"))
    found = [
        Found("Accepted", True, "Accepted", "the spec can be carried out"),
        Found("Ready", True, "AllReady", "all five agents take calls")
        if all_ready
        else Found(
            "Ready", False, "AgentsNotReady", f"{ready} of {len(ROLES)} agents take calls; see {waits}"
        ),
        Found("Degraded", True, "AgentsDegraded", "; ".join(worries)[:2000])
        if worries
        else Found("Degraded", False, "AsExpected", ""),
    ]
    phase = "Degraded" if worries else "Pending" if not all_ready else "Progressing" if moving else "Ready"
    return AgentTeamStatus.model_validate(
        {
            "observed_generation": generation,
            "phase": phase,
            "ready": f"{ready}/{len(ROLES)}",
            "url": url,
            "members": members,
            "conditions": conditions(found, before.conditions, generation, observed.now),
        }
    )


@cache
def _card(role: str) -> Mapping[str, Any]:
    """The card of a role, as the agent in the image has it."""
    told: dict[str, Any] = orjson.loads((files("parley_operator") / "cards" / f"{role}.json").read_bytes())
    return {name: value for name, value in told.items() if name not in ("name", "version")}


def _status(team: Object) -> AgentTeamStatus:
    try:
        return AgentTeamStatus.read(team.get("status") or {})
    except ValidationError:
        return AgentTeamStatus()
