"""What can go wrong between the orchestrator and the agents it asks."""

from parley_core.errors import ParleyError


class OrchestratorError(ParleyError):
    """Base of the orchestrator's errors; the message is fit for the client."""


class CallFailed(OrchestratorError):
    """A call to an agent failed in a way that may pass: worth another try, there or elsewhere."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CallRefused(OrchestratorError):
    """The agent (or what answers in its place) does not take this call; trying again would not help."""


class NotSupported(CallRefused):
    """The agent does not offer this operation, or not for this task in its state."""


class NotLetIn(CallRefused):
    """The agent wants other credentials than it was shown, if any."""


class TaskGone(CallRefused):
    """The agent does not know the task (any more)."""


class BadAnswer(OrchestratorError):
    """What an agent made is not what was asked for: missing, malformed, too large."""


class ChildFailed(OrchestratorError):
    """An agent ended its task without doing what was asked."""


class NoAgent(OrchestratorError):
    """No agent with the skill is left to ask. `registered`: whether the registry knows any at all."""

    def __init__(self, message: str, *, registered: bool) -> None:
        super().__init__(message)
        self.registered = registered


class OutOfTime(OrchestratorError):
    """The time for the task, or for one delegation, is spent."""
