"""The orchestrator: a task and a repository in, a verified change out, the work done by agents found by skill."""

from parley_agents.orchestrator.executor import Orchestrator

__all__ = ["Orchestrator"]
