"""Names, labels and owners of what is made."""

from collections.abc import Mapping
from typing import Any

from parley_operator.observed import Object
from parley_operator.resources.base import API_VERSION, GROUP

MANAGER = "parley-operator"
AGENT = f"{GROUP}/agent"
VERSION = f"{GROUP}/version"
FINALIZER = f"{GROUP}/drain"

Manifest = dict[str, Any]


def labels(agent: str, digest: str = "") -> dict[str, str]:
    """Labels of what belongs to an agent, or to one of its versions."""
    found = {
        "app.kubernetes.io/name": agent,
        "app.kubernetes.io/instance": f"{agent}-{digest}" if digest else agent,
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/part-of": "parley",
        AGENT: agent,
    }
    return found | ({VERSION: digest} if digest else {})


def selector(agent: str, digest: str = "") -> dict[str, str]:
    """Labels that pick the pods of an agent, or of one of its versions."""
    return {AGENT: agent} | ({VERSION: digest} if digest else {})


def owner(kind: str, name: str, uid: str) -> Manifest:
    """The owner whose deletion deletes an object."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def of_agent(api: str, kind: str, name: str, agent: Object, **rest: Any) -> Manifest:
    """An object that an Agent owns."""
    meta = agent["metadata"]
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": labels(meta["name"]),
            "ownerReferences": [owner("Agent", meta["name"], meta["uid"])],
        },
        **rest,
    }


def of_version(api: str, kind: str, version: Mapping[str, str], agent: Object, **rest: Any) -> Manifest:
    """An object that an AgentVersion owns, called as that; `version` has its `name`, `uid` ("" if not known) and `hash`."""
    meta = agent["metadata"]
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": version["name"],
            "namespace": meta["namespace"],
            "labels": labels(meta["name"], version["hash"]),
            "ownerReferences": [owner("AgentVersion", version["name"], version["uid"])],
        },
        **rest,
    }


def finalizer(agent: Object) -> Manifest:
    """What has to be applied for the Agent to have our finalizer."""
    meta = agent["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "Agent",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "finalizers": [FINALIZER]},
    }
