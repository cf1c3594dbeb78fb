"""What has to be asked, beyond the API server, before an Agent can be planned."""

from collections.abc import Iterator
from dataclasses import dataclass

from parley_operator.judging import WINDOW
from parley_operator.observed import Object
from parley_operator.resources.agent import AgentSpec, AgentStatus
from parley_operator.resources.conditions import unclock
from parley_operator.resources.rollout import Prometheus, RolloutPolicy, Webhook
from parley_registry.client import Rollout, shifting


@dataclass(frozen=True, slots=True)
class Question:
    """A Prometheus query or webhook to be asked about a canary, under its name."""

    name: str
    check: Prometheus | Webhook


def figures(spec: AgentSpec, versions: int, table: Rollout | None, *, deleting: bool = False) -> bool:
    """Whether the figures of the versions are needed: a rollout or a draining goes on, or replicas follow the tasks.
    `versions` is how many AgentVersions there are."""
    if spec.runtime == "remote" or table is None:
        return False
    follows = spec.autoscaling is not None and spec.autoscaling.tasks_per_replica is not None
    return deleting or follows or versions > 1 or len(table.versions) > 1


def window(status: AgentStatus, now: float) -> float:
    """Over how many seconds figures are needed: since the canary got its first share, at most `judging.WINDOW`."""
    state = status.rollout
    if state is None or not state.first_step:
        return 60.0
    return min(WINDOW, max(60.0, now - unclock(state.first_step) + 1.0))


def questions(spec: AgentSpec, table: Rollout | None) -> tuple[Question, ...]:
    """What of the analysis is to be asked of others now."""
    if table is None or not shifting.canary(table):
        return ()
    return tuple(dict.fromkeys(_questions(spec.rollout)))


def filled(query: str, agent: Object, current: str, canary: str) -> str:
    """A query with its placeholders filled in."""
    values = {
        "version": canary,
        "current": current,
        "agent": agent["metadata"]["name"],
        "namespace": agent["metadata"]["namespace"],
    }
    for name, value in values.items():
        query = query.replace("{{" + name + "}}", value)
    return query


def _questions(policy: RolloutPolicy) -> Iterator[Question]:
    for analysis in (policy.analysis, *(step.analysis for step in policy.steps)):
        if analysis is not None:
            yield from (Question(check.name, check) for check in analysis.prometheus)
            yield from (Question(check.name, check) for check in analysis.webhooks)
