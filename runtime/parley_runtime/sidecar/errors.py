"""What can go wrong between a sidecar and the server behind it."""

from parley_core.errors import ParleyError, Unavailable


class ServerAway(Unavailable):
    """The server behind cannot be reached, or broke off; the same call may work later. `refused`: there was no connection, so
    it has not had the call."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class TaskLost(ParleyError):
    """The server behind does not know the task: it was started anew, or another replica's server has it."""


class NotOffered(ParleyError):
    """The server behind does not offer the call."""
