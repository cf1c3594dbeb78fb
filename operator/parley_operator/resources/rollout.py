"""How a new version of an agent gets its share."""

from typing import Annotated, Literal

from pydantic import Field

from parley_operator.resources.base import Duration, Labels, Model, Url, rules

Rule = Annotated[str, Field(max_length=128, pattern=r"^(failure-rate|p95|metric:.+:(lower|higher))$")]
CheckName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class Prometheus(Model):
    """A question to Prometheus about the canary."""

    model_config = rules(
        ("has(self.max) || has(self.min)", "analysis.prometheus: give max, min, or both"),
        (
            "!(has(self.max) && has(self.min)) || self.min <= self.max",
            "analysis.prometheus: min is above max",
        ),
    )

    name: CheckName
    """What it is called in conditions and events."""
    url: Url
    """Address of Prometheus, as `http://prometheus.monitoring:9090`."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL with one number as its result. `{{version}}`, `{{current}}`, `{{agent}}` and `{{namespace}}` are filled in."""
    max: float | None = None
    """The canary does worse when the number is above this."""
    min: float | None = None
    """The canary does worse when the number is below this."""


class Webhook(Model):
    """A service of your own that says how the canary does. It gets a POST with `agent`, `namespace`, `version` and `current`; 200 with
    `{"passed": true}` or `{"passed": false, "reason": "…"}` is a verdict, all else is none yet."""

    name: CheckName
    """What it is called in conditions and events."""
    url: Url
    """Where it is asked."""
    headers: Labels = Field(default_factory=dict)
    """Headers of the request."""


class Analysis(Model):
    """By what a canary is judged, against the current version over the same time. A canary that fails loses its share at once."""

    rules: Annotated[tuple[Rule, ...], Field(max_length=10)] = ("failure-rate",)
    """`failure-rate`, `p95` (durations), `metric:NAME:lower` or `metric:NAME:higher` (a number that the executor reports; which is
    better). Each is Fisher's exact test, one-sided."""
    minimum_sample: Annotated[int, Field(ge=1, le=1000)] = 20
    """How many tasks of either version a rule needs; from fewer there is no verdict."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The chance that a canary which is like the current version is said to do worse; all rules and looks together."""
    tolerance: Annotated[float, Field(ge=0, le=100)] = 0.2
    """By how much a canary may be slower (for `p95`): 0.2 is a fifth."""
    no_verdict: Literal["wait", "proceed", "abort"] = "wait"
    """What happens when a step's pause and `patience` are over and there is no verdict yet."""
    patience: Duration = "1h"
    """How long after a step's pause a verdict is waited for, unless `noVerdict` is wait."""
    prometheus: Annotated[tuple[Prometheus, ...], Field(max_length=10)] = ()
    """Questions to Prometheus; all must be answered well."""
    webhooks: Annotated[tuple[Webhook, ...], Field(max_length=10)] = ()
    """Services of your own that are asked; all must agree."""


class Pause(Model):
    """How long a step lasts."""

    duration: Duration | None = None
    """At least this long. Without it the rollout is paused here until `parley rollout resume`."""


class Step(Model):
    """A share of the new contexts, and what must be before it grows."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """The canary's share of the new contexts, in per cent."""
    pause: Pause | None = None
    """How long the share stays; `{}`: until somebody resumes. By default the next step follows as soon as the analysis, if there is one,
    has passed."""
    analysis: Analysis | None = None
    """Analysis of this step, in place of the rollout's."""


class Drain(Model):
    """What becomes of the contexts of a version that gets no new ones any more."""

    deadline: Duration = "1h"
    """How long the tasks of such a version may go on before its pods are stopped; the current version then goes on with what is left."""
    on_failure: Literal["drain", "move"] = "drain"
    """For a canary that failed: `drain` lets its contexts go on there (up to the deadline), `move` gives them to the current version at
    once."""
    idle: Duration = "5s"
    """How long a version must have had no open task before it counts as drained."""


class RolloutPolicy(Model):
    """How a new version replaces the current one. A context stays on the version that it began on."""

    steps: Annotated[
        tuple[Step, ...],
        Field(
            min_length=1,
            max_length=20,
            json_schema_extra={
                "x-kubernetes-validations": [
                    {
                        "rule": "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
                        "message": "rollout.steps: each step's weight must be higher than the one before",
                    },
                    {
                        "rule": "self[self.size() - 1].weight == 100",
                        "message": "rollout.steps: the last step's weight must be 100",
                    },
                ]
            },
        ),
    ] = (Step(weight=100),)
    """The canary's shares, step by step, up to 100. By default all new contexts begin on a new version once it is available."""
    analysis: Analysis | None = None
    """By what the canary is judged while the steps last; by default by nothing but that its pods are available."""
    drain: Drain = Drain()
    """What becomes of the contexts of versions that are replaced or have failed."""
    history_limit: Annotated[int, Field(ge=0, le=10)] = 3
    """How many drained versions are kept, without pods, to go back to."""
    progress_deadline: Duration = "10m"
    """How long the pods of a new version may take to become available before it is said that it does not progress."""
