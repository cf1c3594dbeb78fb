"""A piece of work for another agent, and the message it is asked with."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from parley_agents.artifacts import REQUEST, StepRequest
from parley_agents.orchestrator.job import Bundle, Job


@dataclass(frozen=True, slots=True)
class Order:
    """One piece of work for one agent with `skill`. `key` names it within the task, `until` is when it must be
    done (seconds since the epoch), `longest` how many seconds one agent may take."""

    key: str
    role: str
    skill: str
    request: StepRequest
    bundles: Sequence[Bundle]
    until: float
    longest: float

    @property
    def seconds(self) -> float:
        """What an agent that begins now may take; not positive: the time is spent."""
        return min(self.longest, self.until - time.time())


async def order_message(job: Job, order: Order, card: pb.AgentCard, name: str) -> pb.Message:
    """The message that asks the agent of `card` for it; `name` says which piece of work of the task it is."""
    request = order.request
    message = pb.Message(message_id=job.message_id(name), role=pb.ROLE_USER, reference_task_ids=[job.task_id])
    if takes_text(card, order.skill):
        text = request.step.instructions or request.step.title or request.goal
        message.parts.add(text=text, media_type="text/plain")
    data = message.parts.add(media_type=REQUEST)
    ParseDict(request.model_dump(mode="json"), data.data)
    for bundle in order.bundles:
        message.parts.append(await job.exchange.bundle_part(bundle.ref.commit, bundle.data))
    return message


def takes_text(card: pb.AgentCard, skill: str) -> bool:
    """Whether an agent takes words beside the typed request; one that does not say what it takes is sent some."""
    own = [mode for one in card.skills if one.id == skill for mode in one.input_modes]
    modes = own or list(card.default_input_modes)
    return not modes or any(mode in ("text/plain", "text/*", "*/*") for mode in modes)
