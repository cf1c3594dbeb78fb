"""How many pods a version is to have. Pure."""

import math

from parley_operator.judging import Figures
from parley_operator.resources.agent import AgentSpec
from parley_operator.resources.base import seconds
from parley_operator.resources.conditions import clock, unclock
from parley_operator.resources.version import AgentVersionStatus
from parley_operator.versions import Version


def follows_tasks(spec: AgentSpec) -> bool:
    """Whether the operator itself scales by tasks."""
    return spec.autoscaling is not None and spec.autoscaling.tasks_per_replica is not None


def least(spec: AgentSpec) -> int:
    """Pods that a new version has to have before it gets a share."""
    if spec.replicas is not None:
        return max(spec.replicas, 1)
    return spec.autoscaling.min_replicas if spec.autoscaling is not None else 1


def first(spec: AgentSpec) -> int:
    """Pods that a new version begins with; Kubernetes itself would begin with one."""
    return 0 if spec.replicas == 0 else least(spec)


def serving(
    spec: AgentSpec, version: Version, status: AgentVersionStatus, figures: Figures | None, now: float
) -> tuple[int | None, AgentVersionStatus]:
    """Pods of a version that takes, or is to take, new contexts: None when that is left to others; and its status."""
    if spec.replicas is not None:
        return spec.replicas, status
    if spec.autoscaling is None:
        return (None if version.replicas else 1), status
    if not follows_tasks(spec):
        return (None if version.replicas else spec.autoscaling.min_replicas), status
    return _by_tasks(spec, version, status, figures, now, spec.autoscaling.min_replicas)


def draining(
    spec: AgentSpec, version: Version, status: AgentVersionStatus, figures: Figures | None, now: float
) -> tuple[int | None, AgentVersionStatus]:
    """Pods of a version that gets no new contexts, but has tasks: never none."""
    if follows_tasks(spec) and version.replicas:
        return _by_tasks(spec, version, status, figures, now, 1)
    return (None if version.replicas else 1), status


def _by_tasks(
    spec: AgentSpec,
    version: Version,
    status: AgentVersionStatus,
    figures: Figures | None,
    now: float,
    least: int,
) -> tuple[int, AgentVersionStatus]:
    wanted = spec.autoscaling
    if wanted is None or wanted.tasks_per_replica is None:
        raise ValueError("replicas of this agent do not follow its tasks")
    there = version.replicas
    if figures is None:
        return min(max(there, least), wanted.max_replicas), status
    tasks = figures[version.version].working if version.version in figures else 0
    need = min(max(math.ceil(tasks / wanted.tasks_per_replica), least), wanted.max_replicas)
    if need >= there or there > wanted.max_replicas:
        return need, status.model_copy(update={"fewer_since": None})
    since = status.fewer_since or clock(now)
    if now - unclock(since) < seconds(wanted.scale_down_delay):
        return there, status.model_copy(update={"fewer_since": since})
    return need, status.model_copy(update={"fewer_since": None})
