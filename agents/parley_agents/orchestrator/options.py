"""What a client may ask of the orchestrator: the request's data part and its options."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from parley_agents.artifacts import Commit


class Options(BaseModel):
    """`request.options`. Unknown ones are kept and passed on to every child (`engine`, sandbox settings …)."""

    model_config = ConfigDict(extra="allow")

    rounds: int = Field(default=3, ge=1, le=20)
    """How often one edit step may be tried before it is taken back; also how often the client may send back."""
    seconds: float = Field(default=1800.0, ge=1, le=7 * 24 * 3600)
    """Time for the whole task; waiting for the client does not count. The last fifth is for the final check."""
    step_seconds: float = Field(default=900.0, ge=1, le=24 * 3600)
    """Time for one delegation to one agent."""
    approve: bool = False
    """Ask the client before the change is delivered."""
    allow_untested: bool = False
    """Count a change as verified although the repository has no tests."""

    @property
    def for_children(self) -> dict[str, Any]:
        """What of the options children are told."""
        return dict(self.model_extra or {})


class DeliverRequest(BaseModel):
    """The data part of media type application/vnd.parley.request+json: a `StepRequest` without a step will do.

    `goal` may be empty when the message has a text part, which is then the goal. `base` is the snapshot of the
    client's repository. `change`, if given, is what an earlier task of the session delivered on top of it:
    work goes on from there, and what is delivered leads from `base` to the end of both.
    """

    model_config = ConfigDict(extra="ignore")

    goal: str = Field(default="", max_length=32_768)
    base: Commit | None = None
    change: Commit | None = None
    options: Options = Options()
