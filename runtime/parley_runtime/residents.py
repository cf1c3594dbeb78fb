"""Whose tasks a store keeps: those of one agent, of each version run by one executor."""

from collections.abc import Sequence

from a2a.server.agent_execution import AgentExecutor

from parley_core.errors import ConfigurationError
from parley_runtime.store import Resident


def executor_name(executor: AgentExecutor) -> str:
    """What an executor is known by when nothing else is said: its class."""
    return f"{type(executor).__module__}:{type(executor).__qualname__}"


def judge(me: Resident, there: Sequence[Resident]) -> list[str]:
    """What an operator should know of who is `there` already. Raises ConfigurationError when this process would get work
    that is not its own, or others would get its."""
    warnings = []
    for other in there:
        if other.agent != me.agent:
            raise ConfigurationError(
                f"--store keeps the tasks of the agent {other.agent!r}; {me.agent!r} needs one of its own "
                "(another file, or another ?schema=)"
            )
        if other.executor == me.executor:
            continue
        who = f"{other.agent} {other.version}"
        if other.version != me.version:
            if other.live:
                warnings.append(
                    f"{who} runs on this store too, by another executor ({other.executor}; here {me.executor}): well if it "
                    "is another version of the same agent; another agent needs another name or store"
                )
        elif other.live:
            raise ConfigurationError(
                f"{who} is run on this store by {other.executor}, and this process has {me.executor}: either would get the "
                "other's work. Another agent needs another name or store, a new version another --version; where they "
                "are the same, start all of them with the same --agent-id"
            )
        else:
            warnings.append(
                f"{who} was run by {other.executor} before; its open tasks are now {me.executor}'s"
            )
    return warnings
