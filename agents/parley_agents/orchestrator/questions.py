"""Questions to the client, and its answers: the one way by which anything waits for a person."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict

from parley_agents.bundles import data_of

MAX_REASON = 8_000
"""Characters of a client's reason that are handed on."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something only the client can answer. `id` is the same whenever the same point is reached."""

    id: str
    text: str
    state: int = pb.TASK_STATE_INPUT_REQUIRED
    asker: Mapping[str, Any] = field(default_factory=dict)
    """The delegation of the child that asks; empty when the orchestrator itself does."""
    parts: tuple[pb.Part, ...] = ()


class NeedsClient(Exception):
    """Not an error: raised where an answer is needed that has not come yet."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.text)
        self.question = question


def answer_from(message: pb.Message) -> list[dict[str, Any]]:
    """A client's message as the journal keeps it: its parts as JSON."""
    return [MessageToDict(part) for part in message.parts]


def parts_from(answer: Sequence[Mapping[str, Any]]) -> list[pb.Part]:
    """The parts of a kept answer."""
    return [ParseDict(dict(one), pb.Part()) for one in answer]


@dataclass(frozen=True, slots=True)
class Approval:
    """A client's word on a change that is ready."""

    what: Literal["approve", "reject", "unclear"]
    reason: str = ""


_YES = re.compile(r"^\W*(approved?|yes|ok(ay)?|lgtm|accept(ed)?)\W*$", re.IGNORECASE)
_NO = re.compile(
    r"^\W*(reject(ed)?|no|decline[d]?)\b\s*[:,.;–—-]?\s*(?P<reason>.*)$", re.IGNORECASE | re.DOTALL
)


def approval(parts: Sequence[pb.Part]) -> Approval:
    """Read an approval: a data part `{"approve": true}` or `{"approve": false, "reason": "…"}`, or words that
    begin with approve/yes or reject/no; what follows reject is the reason."""
    for part in parts:
        data = data_of(part)
        if data and isinstance(data.get("approve"), bool):
            reason = str(data.get("reason") or "").strip()[:MAX_REASON]
            return Approval("approve" if data["approve"] else "reject", reason)
    text = "\n".join(part.text for part in parts if part.WhichOneof("content") == "text").strip()
    if _YES.match(text):
        return Approval("approve")
    if found := _NO.match(text):
        return Approval("reject", found["reason"].strip()[:MAX_REASON])
    return Approval("unclear")
