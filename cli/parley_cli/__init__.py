"""The `parley` command and the Python client.

`from parley_cli import Parley, run_sync` is the programmatic way to give the team a job; the names are loaded
on first use so that `parley --help` stays quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parley_cli.client import Parley, run_sync
    from parley_cli.events import (
        AgentStatus,
        ArtifactReady,
        Event,
        InputRequired,
        JobEnded,
        JobStarted,
        PlanReady,
        StepAgain,
        StepEnded,
        StepUpdate,
    )
    from parley_cli.outcome import JobResult, StepResult

__all__ = [
    "AgentStatus",
    "ArtifactReady",
    "Event",
    "InputRequired",
    "JobEnded",
    "JobResult",
    "JobStarted",
    "Parley",
    "PlanReady",
    "StepAgain",
    "StepEnded",
    "StepResult",
    "StepUpdate",
    "run_sync",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from parley_cli import client, events, outcome

        return next(getattr(one, name) for one in (events, outcome, client) if hasattr(one, name))
    raise AttributeError(f"module 'parley_cli' has no attribute {name!r}")
