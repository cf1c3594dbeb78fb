"""Goal and repository in, plan out."""

from parley_agents.planner.executor import Planner

__all__ = ["Planner"]
