"""Base and change in, SARIF with a verdict out."""

from parley_agents.reviewer.executor import Reviewer

__all__ = ["Reviewer"]
