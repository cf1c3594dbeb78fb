"""What the orchestrator can be told by `PARLEY_…` in the environment, besides what every team agent can."""

from pathlib import Path

from pydantic import Field, ValidationError

from parley_agents.settings import AgentSettings
from parley_core.errors import ConfigurationError


class OrchestratorSettings(AgentSettings):
    """Durations are seconds."""

    registry: str = Field(default="", repr=False)
    """Address of the registry that agents are found in: a service, or a Nacos that a catalogue is registered at."""
    registry_token: str = Field(default="", repr=False)
    """Bearer token for the registry."""
    registry_token_file: Path | None = None
    """File with that token, read anew for each call."""
    agent_token_file: Path | None = None
    """File with the bearer token for the agents that we delegate to, read anew for each call. Agents that are known by
    their URL alone are not shown it."""
    public_url: str = ""
    """Where children reach this host, for push; empty: they are polled when a stream is gone."""

    orchestrator_attempts: int = Field(default=4, ge=1)
    """Delegations of one piece of work before it counts as failed, other agents with the skill included."""
    orchestrator_tries: int = Field(default=4, ge=1)
    """Calls to one agent with the same message before another agent is asked."""
    orchestrator_patience: float = Field(default=10.0, ge=0)
    """How long to wait for an agent with a skill to come up."""
    orchestrator_answer: float = Field(default=60.0, gt=0)
    """How long a streaming agent may take until it says the first thing."""
    orchestrator_lost: float = Field(default=60.0, gt=0)
    """How long an agent that has a task of ours may be out of reach before the task is given to another."""
    orchestrator_poll: float = Field(default=10.0, gt=0)
    """The longest pause between two looks at a child without a stream."""
    orchestrator_cancel: float = Field(default=8.0, gt=0)
    """How long cancelling all children may take."""
    orchestrator_circuit_failures: int = Field(default=4, ge=1)
    """Failures in a row after which an agent is left alone for a while."""
    orchestrator_circuit_cooldown: float = Field(default=30.0, gt=0)
    """How long it is left alone then."""


def load_settings() -> OrchestratorSettings:
    """The settings of this process. Raises ConfigurationError that names each variable at fault."""
    try:
        return OrchestratorSettings()
    except ValidationError as error:
        faults = "; ".join(
            f"PARLEY_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(faults) from error
