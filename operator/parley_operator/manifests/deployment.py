"""What is made of each version: the AgentVersion itself, its card, and its Deployment."""

import json

from parley_operator.identity import version_name
from parley_operator.manifests.meta import Manifest, labels, of_agent, of_version, selector
from parley_operator.manifests.pod import pod_template
from parley_operator.observed import Object, Settings
from parley_operator.resources.base import API_VERSION
from parley_operator.resources.version import AgentVersionSpec


def agent_version(spec: AgentVersionSpec, agent: Object) -> Manifest:
    """The AgentVersion."""
    made = of_agent(
        API_VERSION, "AgentVersion", version_name(spec.agent, spec.hash), agent, spec=spec.written()
    )
    made["metadata"]["labels"] = labels(spec.agent, spec.hash)
    return made


def card(spec: AgentVersionSpec, uid: str, agent: Object) -> Manifest:
    """The ConfigMap with the version's card."""
    text = json.dumps(spec.card, indent=1, sort_keys=True, ensure_ascii=False)
    return of_version("v1", "ConfigMap", _version(spec, uid), agent, data={"card.json": text})


def deployment(spec: AgentVersionSpec, uid: str, agent: Object, url: str, settings: Settings) -> Manifest:
    """The Deployment of the version. How many replicas it has is not said here: that is set by the scale subresource."""
    pod = pod_template(spec, agent["metadata"]["namespace"], url, settings)
    return of_version(
        "apps/v1",
        "Deployment",
        _version(spec, uid),
        agent,
        spec={
            "selector": {"matchLabels": selector(spec.agent, spec.hash)},
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod,
        },
    )


def _version(spec: AgentVersionSpec, uid: str) -> dict[str, str]:
    return {"name": version_name(spec.agent, spec.hash), "uid": uid, "hash": spec.hash}
