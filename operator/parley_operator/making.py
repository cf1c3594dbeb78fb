"""Which objects an Agent is to have, and which it has but should not. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from parley_operator.manifests import deployment, sharing
from parley_operator.manifests.meta import FINALIZER, finalizer
from parley_operator.manifests.pod import limits_name
from parley_operator.observed import Object, Observed, Ref
from parley_operator.resources.agent import AgentSpec
from parley_operator.resources.version import AgentVersionSpec
from parley_operator.versions import Version

Manifests = tuple[Mapping[str, Any], ...]


def wanted(
    at: Observed, spec: AgentSpec, new: AgentVersionSpec | None, versions: Sequence[Version]
) -> Manifests:
    """All that is to be there, in the order in which it is to be made: also what is there already, and `new`, the version
    that the spec means, if it is none of `versions`."""
    agent, settings = at.agent, at.settings
    made: list[Mapping[str, Any]] = []
    if FINALIZER not in (agent["metadata"].get("finalizers") or ()) and not _is_of_team(agent):
        made.append(finalizer(agent))
    made.append(sharing.service(agent))
    if not spec.security.service_account:
        made.append(sharing.service_account(agent))
    if not spec.security.network.open:
        made.append(sharing.network_policy(agent, spec, settings))
    if settings.jwks:
        made.append(sharing.trust(agent, settings))
    if spec.queue is not None:
        made.append(sharing.limits(agent, spec.queue))
    made.append(sharing.disruption_budget(agent))
    if not url(at):
        return tuple(made)  # what the pods publish is not known yet
    if new is not None and all(one.version != new.version for one in versions):
        made += [deployment.agent_version(new, agent), *_of_version(at, new, "")]
    for one in versions:
        made += _of_version(at, one.spec, one.uid)
    return (*made, *_autoscalers(at, spec, versions))


def superfluous(at: Observed, spec: AgentSpec, versions: Sequence[Version]) -> list[Ref]:
    """Objects of ours that the spec does not ask for any more."""
    name = at.agent["metadata"]["name"]
    found = []
    if spec.security.network.open:
        found.append(Ref("NetworkPolicy", name))
    if spec.security.service_account:
        found.append(Ref("ServiceAccount", name))
    if spec.queue is None:
        found.append(Ref("ConfigMap", limits_name(name)))
    kept = {one["metadata"]["name"] for one in _autoscalers(at, spec, versions)}
    found += [ref for ref in at.children if ref.kind == "HorizontalPodAutoscaler" and ref.name not in kept]
    return [ref for ref in found if ref in at.children]


def url(at: Observed) -> str:
    """Where the agent answers in the cluster; "" while that is not known."""
    return sharing.url(at.agent, at.settings, at.children.get(Ref("Service", at.agent["metadata"]["name"])))


def _of_version(at: Observed, spec: AgentVersionSpec, uid: str) -> list[Mapping[str, Any]]:
    made: list[Mapping[str, Any]] = [deployment.card(spec, uid, at.agent)] if spec.card else []
    return [*made, deployment.deployment(spec, uid, at.agent, url(at), at.settings)]


def _autoscalers(at: Observed, spec: AgentSpec, versions: Sequence[Version]) -> Manifests:
    told = spec.autoscaling
    if told is None or told.cpu_percent is None:
        return ()
    return tuple(
        sharing.autoscaler(at.agent, one.name, told)
        for one in versions
        if one.deployment and one.status.state in ("Current", "Ramping", "Draining")
    )


def _is_of_team(agent: Object) -> bool:
    """Whether an AgentTeam made it: then the finalizer is that one's to apply, with the spec."""
    return any(one.get("kind") == "AgentTeam" for one in agent["metadata"].get("ownerReferences") or ())
