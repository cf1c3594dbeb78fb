"""How much an agent does at once: replicas, autoscaling, and the limits of its queue."""

from typing import Annotated

from pydantic import Field

from parley_operator.resources.base import Duration, Model, rules

Replicas = Annotated[int, Field(ge=0, le=1000)]
Share = Annotated[float, Field(gt=0, le=1_000_000_000)]


class Autoscaling(Model):
    """Replicas by what there is to do: for tasks the operator scales by itself, for processor time by a HorizontalPodAutoscaler. Of several
    measures one is given."""

    model_config = rules(
        (
            "self.minReplicas <= self.maxReplicas",
            "autoscaling.minReplicas: must not be more than maxReplicas",
        ),
        (
            "has(self.tasksPerReplica) != has(self.cpuPercent)",
            "autoscaling: give exactly one of tasksPerReplica and cpuPercent",
        ),
    )

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Fewest replicas of a version that gets new contexts."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas of each version."""
    tasks_per_replica: Annotated[int | None, Field(ge=1, le=10000)] = None
    """Tasks, waiting in the queue or in flight, for which one replica is meant."""
    cpu_percent: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Processor time, in per cent of what is requested, that replicas are to use on the average."""
    scale_down_delay: Duration = "5m"
    """How long fewer replicas must have been enough before there are fewer."""


class Queue(Model):
    """Limits of the agent's queue. They are changed while it runs; no pod is started again for it."""

    concurrency: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Executions at once in one pod; 0: 64."""
    rate: Annotated[float, Field(ge=0, le=1_000_000_000)] = 0
    """Executions begun a second, over all pods; 0: as many as there are."""
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    """Executions that may begin at once after a pause, beyond the rate."""
    backlog: Annotated[int, Field(ge=0, le=1_000_000_000)] = 100_000
    """Messages that may wait; beyond it they are refused (HTTP 429); 0: any number."""
    priorities: Annotated[dict[str, Annotated[int, Field(ge=0, le=7)]], Field(max_length=100)] = Field(
        default_factory=dict
    )
    """Priorities (0 to 7, a higher one always goes first) of callers that do not choose; 3 for who is not named. A caller is
    `issuer|subject` of its token."""
    tenant_weights: Annotated[dict[str, Share], Field(max_length=100)] = Field(default_factory=dict)
    """Shares of tenants while more waits than can run; 1 for who is not named. A tenant is `issuer|subject` of its token."""
