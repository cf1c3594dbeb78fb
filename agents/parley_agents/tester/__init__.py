"""Base and change in, JUnit XML and a report out."""

from parley_agents.tester.executor import Tester

__all__ = ["Tester"]
