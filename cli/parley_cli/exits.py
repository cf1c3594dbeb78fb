"""What the exit code of `parley` says: the one table, and which error means which."""

from collections.abc import Mapping

from parley_core.errors import ConfigurationError, ParleyError

DONE = 0
NOT_DONE = 1
MISUSED = 2
INTERRUPTED = 130
OUTPUT_GONE = 141
TERMINATED = 143

MEANINGS: Mapping[int, str] = {
    DONE: "done. A job: its change is verified, or there was nothing to change. `send`: answered, or completed. "
    "`task cancel`: it is canceled now. `status`: the platform is ready",
    NOT_DONE: "it did not come to that: not verified, failed, refused, out of reach, not running, or it waits for an "
    "answer; the reason is on standard error",
    MISUSED: "misused: an option or setting that cannot work, or something named that is not there (repository, task, "
    "agent, file)",
    INTERRUPTED: "ended by Ctrl-C",
    OUTPUT_GONE: "whoever read the output is gone",
    TERMINATED: "ended by SIGTERM",
}


def code_of(error: ParleyError) -> int:
    """The exit code for an error that ends a command."""
    from parley_agents.orchestrator.errors import TaskGone
    from parley_registry.errors import (
        BadRequest,
        McpRejected,
        NotRendered,
        PromptRejected,
        UnknownAgent,
        UnknownMcpServer,
        UnknownPrompt,
    )

    wrong = (
        ConfigurationError,
        TaskGone,
        BadRequest,
        UnknownAgent,
        PromptRejected,
        UnknownPrompt,
        NotRendered,
    )
    misused = isinstance(error, (*wrong, McpRejected, UnknownMcpServer))
    return MISUSED if misused or getattr(error, "misuse", False) else NOT_DONE


def hint_for(error: ParleyError) -> str:
    """What a user of the command can do about an error that others meet too; "" where it says so itself."""
    from parley_agents.orchestrator.errors import NotLetIn
    from parley_registry.errors import AddressRefused, NotAllowed, NotRendered

    if isinstance(error, (NotLetIn, NotAllowed)) and not isinstance(error, AddressRefused):
        return "; give a token it accepts with --token-file FILE or in PARLEY_TOKEN"
    if isinstance(error, NotRendered):
        return ", given as NAME=TEXT behind the prompt's name"
    return ""
