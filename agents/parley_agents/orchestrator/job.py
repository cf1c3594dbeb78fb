"""One task of the orchestrator while it is worked on: what all its pieces share."""

import uuid
from dataclasses import dataclass

import httpx
from a2a.types import a2a_pb2 as pb

from parley_agents.artifacts import Commit
from parley_agents.bundles import Exchange
from parley_agents.orchestrator.discovery import Directory
from parley_agents.orchestrator.inbox import Inbox
from parley_agents.orchestrator.journal import Journal
from parley_agents.orchestrator.options import Options
from parley_agents.orchestrator.questions import NeedsClient, Question, parts_from
from parley_agents.orchestrator.relay import Child, Relay
from parley_agents.orchestrator.settings import OrchestratorSettings
from parley_core.bearer import Bearer

LAST_PART = 0.2
"""The share of the time that is kept for the final check."""


@dataclass(slots=True)
class Job:
    """`deadline` is on the wall clock (seconds since the epoch), so it holds over restarts."""

    task_id: str
    relay: Relay
    journal: Journal
    directory: Directory
    exchange: Exchange
    inbox: Inbox
    http: httpx.AsyncClient
    settings: OrchestratorSettings
    options: Options
    deadline: float
    token: Bearer | None = None

    def token_for(self, child: Child) -> Bearer | None:
        """What to show to a child's agent: our token to those that published themselves, as the registry asked them who
        they are; nothing to one that is known by its URL alone, which could use the token in our name."""
        return None if child.external else self.token

    def message_id(self, name: str) -> str:
        """The messageId of a message to a child: the same for the same piece of work, so that an agent that
        knows it already does not begin a second time."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"parley:{self.task_id}/{name}"))

    @property
    def steps_until(self) -> float:
        """When steps must be done (seconds since the epoch), so that the final check can still be made."""
        return self.deadline - self.options.seconds * LAST_PART

    async def ask(self, question: Question) -> list[pb.Part]:
        """The client's answer to a question. Raises NeedsClient until there is one."""

        async def unanswered() -> list[dict[str, object]]:
            raise NeedsClient(question)

        return parts_from(await self.journal.once(f"answer:{question.id}", unanswered))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A commit in its travelling form."""

    ref: Commit
    data: bytes
