"""The orchestrator: a task and a repository in, a verified change out, the work done by agents found by skill.

`Orchestrator` is loaded on first use: commands need what is beside it (calls to agents, their errors), not a host.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parley_agents.orchestrator.executor import Orchestrator

__all__ = ["Orchestrator"]


def __getattr__(name: str) -> Any:
    if name == "Orchestrator":
        from parley_agents.orchestrator.executor import Orchestrator

        return Orchestrator
    raise AttributeError(f"module 'parley_agents.orchestrator' has no attribute {name!r}")
