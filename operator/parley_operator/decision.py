"""What is to be done about an Agent, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from parley_operator.observed import Ref
from parley_registry.client import Rollout


class Scale(NamedTuple):
    """A Deployment's wanted replicas, to be set by the scale subresource alone."""

    ref: Ref
    replicas: int


@dataclass(frozen=True, slots=True)
class Event:
    """What is told in Kubernetes' events. `on` is the name of an AgentVersion; "" for the Agent itself."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    on: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in the order of the fields: an operator may end between any two of them.

    A step that is refused keeps none after it from being done; who finds that things have changed, or gets no answer, stops
    there, observes again and plans again. The same plan applied twice does nothing the second time.
    """

    apply: tuple[Mapping[str, Any], ...] = ()
    """Whole desired objects, to be applied on the server under our field manager, in this order; those that are as they
    should be, too. Their owner is named without a uid where it is an AgentVersion (`uid: ""`): who applies puts that in.
    An object that is there and is nobody's or another's is not to be taken over."""
    register: str = ""
    """URL of a card that is to be registered in the registry (`register_url`)."""
    table: Rollout | None = None
    """The rollout table to be set, expecting the revision that it carries."""
    status: Mapping[str, Any] | None = None
    """The Agent's whole status, to replace the one there **only if the Agent still has the resourceVersion that was
    observed**; None: as it is."""
    version_status: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Whole status of AgentVersions, by name, under the same condition; only those that change."""
    events: tuple[Event, ...] = ()
    scale: tuple[Scale, ...] = ()
    latest: str = ""
    """The version that is to be the latest in the registry."""
    unpublish: tuple[str, ...] = ()
    """Versions to be deleted from the registry. One that is in use there refuses; then it is tried again later."""
    withdraw: bool = False
    """Whether the agent is to be deleted from the registry with all its versions. Not being able to is no failure once
    `finalize` stands beside it."""
    delete: tuple[Ref, ...] = ()
    """Objects to be deleted; what they own goes with them."""
    finalize: bool = False
    """Whether our finalizer is to be taken off the Agent."""
    again: float | None = None
    """Seconds after which to plan again though nothing was heard of; None: not needed."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do now."""
        return self == Plan(again=self.again)
