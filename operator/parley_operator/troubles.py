"""What keeps pods of a version from being made or from starting: in words, and each cause once as an event. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from parley_operator.decision import Event
from parley_operator.manifests.meta import selector
from parley_operator.observed import Object
from parley_operator.resources.version import AgentVersionStatus
from parley_operator.versions import Version

_MOST = 3
"""Troubles that are told in a condition at most."""
_KEPT = 16
"""Causes that are remembered as told."""
_PULLING = ("ErrImagePull", "ImagePullBackOff")
"""The two stages of one trouble, which alternate."""


class Trouble(NamedTuple):
    """A cause in one word and in words; `pods` is how many pods have it, 0 where there are none because of it."""

    cause: str
    said: str
    pods: int = 0


def troubles(version: Version, pods: Iterable[Object]) -> tuple[Trouble, ...]:
    """All that is known of why the version has not all its pods, each cause once."""
    labels = selector(version.spec.agent, version.spec.hash)
    found = {one.cause: one for one in _denied((version.deployment or {}).get("status") or {})}
    count: Counter[str] = Counter()
    for pod in pods:
        if labels.items() <= (pod["metadata"].get("labels") or {}).items():
            of_pod = {one.cause: one for one in troubles_of_pod(pod.get("status") or {})}
            count.update(of_pod.keys())
            found |= {cause: one for cause, one in of_pod.items() if cause not in found}
    return tuple(one._replace(pods=count[one.cause]) for one in found.values())


def in_words(found: Sequence[Trouble]) -> str:
    """The first of them; "" when nothing is known."""
    return "; ".join(one.said for one in found[:_MOST])[:1000]


def news(
    version: Version, status: AgentVersionStatus, found: Sequence[Trouble]
) -> tuple[AgentVersionStatus, list[Event]]:
    """The status with what was found, and events of the causes that were not told since the version had all its pods the
    last time."""
    known = () if version.complete or not version.replicas else status.troubles
    fresh = [one for one in found if one.cause not in known]
    told = (*known, *(one.cause for one in fresh))[-_KEPT:]
    update = {"message": in_words(found), "troubles": told}
    return status.model_copy(update=update), [
        Event(
            "Warning", one.cause, f"{version.version}: {_of_how_many(one, version.replicas)}{one.said}"[:1000]
        )
        for one in fresh
    ]


def _of_how_many(one: Trouble, wanted: int) -> str:
    return f"{one.pods} of {wanted} pods: " if one.pods else f"not all of {wanted} pods can be made: "


def _denied(status: Object) -> Iterable[Trouble]:
    """Why no pods are made at all, as by a quota or by who admits pods."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            reason = str(condition.get("reason", "ReplicaFailure"))
            yield Trouble(reason, f"{reason}: {str(condition.get('message', ''))[:300]}")


def troubles_of_pod(status: Object) -> Iterable[Trouble]:
    """Why one pod does not start."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reason = condition.get("reason", "Unschedulable")
            yield Trouble(reason, f"{reason}: {condition.get('message', '')}".strip(": "))
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field) or ():
            state = container.get("state") or {}
            waiting = state.get("waiting") or {}
            reason = waiting.get("reason", "")
            last = ((container.get("lastState") or {}).get("terminated") or {}).get("message", "")
            again = container.get("restartCount", 0)
            if state.get("running") and not container.get("started") and again:
                yield Trouble(
                    "NotComingUp",
                    f"container {container.get('name')}: started {again + 1} times and not come up"
                    + (f" ({last.strip()[-300:]})" if last else ""),
                )
            if reason and reason not in ("ContainerCreating", "PodInitializing"):
                text = last or waiting.get("message", "")
                yield Trouble(
                    "ImagePullBackOff" if reason in _PULLING else reason,
                    f"container {container.get('name')}: {reason}"
                    + (f" ({text.strip()[-300:]})" if text else ""),
                )
