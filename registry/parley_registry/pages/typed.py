"""What is typed into the form of a skill, as a message."""

import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict


def skill_of(card: Mapping[str, Any], wanted: str) -> dict[str, Any] | None:
    """The skill of a card with that id, else its first one; None when it has none."""
    skills: list[dict[str, Any]] = card.get("skills", [])
    return next((one for one in skills if one["id"] == wanted), skills[0] if skills else None)


def typed_modes(card: Mapping[str, Any], skill: Mapping[str, Any] | None) -> list[str]:
    """The media types that can be typed, of those that the skill takes."""
    taken = (skill or {}).get("inputModes") or card.get("defaultInputModes", [])
    plain = ["text/plain" if mode in ("*/*", "text/*") else mode.partition(";")[0].strip() for mode in taken]
    return [mode for mode in dict.fromkeys(plain) if mode.startswith("text/") or mode.endswith("json")]


def part_of(text: str, mode: str) -> pb.Part:
    """What was typed as a Part. Raises ValueError for JSON that is none."""
    if mode.endswith("json"):
        return ParseDict({"data": orjson.loads(text), "mediaType": mode}, pb.Part())
    return pb.Part(text=text, media_type=mode if mode != "text/plain" else "")


def message_of(part: pb.Part, fields: Mapping[str, str]) -> pb.Message:
    """The message of a form with that part; it goes on with the task and context that the form names."""
    return pb.Message(
        message_id=str(uuid.uuid4()),
        role=pb.ROLE_USER,
        parts=[part],
        task_id=fields.get("task", "")[:256],
        context_id=fields.get("context", "")[:256],
    )
