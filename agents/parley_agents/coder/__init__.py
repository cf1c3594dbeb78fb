"""Step and snapshot in, change out."""

from parley_agents.coder.executor import Coder

__all__ = ["Coder"]
