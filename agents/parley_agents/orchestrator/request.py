"""What a client asks for: its message, read and checked, with the repository it brings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError
from pydantic import ValidationError

from parley_agents.artifacts import GIT_BUNDLE, REQUEST, Commit
from parley_agents.bundles import Exchange, data_of
from parley_agents.orchestrator.job import Bundle
from parley_agents.orchestrator.line import Start
from parley_agents.orchestrator.options import DeliverRequest
from parley_core.errors import ParleyError

MAX_GOAL = 32_768
_BUNDLE_NAME = re.compile(r"^(?P<commit>[0-9a-f]{40}(?:[0-9a-f]{24})?)\.bundle$")


def read_request(parts: Sequence[pb.Part]) -> DeliverRequest:
    """The request in a message. Raises InvalidParamsError that says what to send instead."""
    found = DeliverRequest()
    for part in parts:
        if part.media_type == REQUEST:
            data = data_of(part)
            if data is None:
                raise InvalidParamsError(
                    f"the part of media type {REQUEST} must be a data part with an object"
                )
            try:
                found = DeliverRequest.model_validate(data)
            except ValidationError as error:
                faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:8])
                raise InvalidParamsError(f"the request cannot be used: {faults}") from error
    text = "\n".join(p.text for p in parts if p.WhichOneof("content") == "text" and not p.filename).strip()
    goal = found.goal.strip() or text
    if not goal:
        raise InvalidParamsError("say in a text part what is to be done to the repository")
    if len(goal) > MAX_GOAL:
        raise InvalidParamsError(f"the task is longer than {MAX_GOAL} characters: shorten it")
    return found.model_copy(update={"goal": goal})


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no repository to work on yet, in words for the client."""

    reason: str


async def read_repository(
    request: DeliverRequest, parts: Sequence[pb.Part], exchange: Exchange
) -> Start | Missing:
    """Where to start, from the bundle parts that came along."""
    bundles = {}
    for part in parts:
        name = _BUNDLE_NAME.match(part.filename)
        if name and part.WhichOneof("content") in ("raw", "url"):
            bundles[name["commit"]] = part
        elif part.media_type == GIT_BUNDLE:
            return Missing(
                f"the bundle {part.filename or '(without a name)'!r} must be named <commit>.bundle"
            )
    base = request.base
    if base is None and len(bundles) == 1 and request.change is None:
        base = Commit(commit=next(iter(bundles)))
    if base is None:
        return Missing(
            "no repository came along" if not bundles else "the request does not say which is the base"
        )
    if base.prerequisite:
        return Missing("the bundle of the base must stand alone, without a prerequisite")
    try:
        snapshot = Bundle(base, await _content(bundles, base.commit, exchange))
        if request.change is None or request.change.commit == base.commit:
            return Start(snapshot)
        earlier = Commit(commit=request.change.commit, prerequisite=base.commit)
        return Start(snapshot, Bundle(earlier, await _content(bundles, earlier.commit, exchange)))
    except ParleyError as error:
        return Missing(str(error))


async def _content(bundles: dict[str, pb.Part], commit: str, exchange: Exchange) -> bytes:
    if commit not in bundles:
        raise ParleyError(f"{commit}.bundle did not come along")
    return await exchange.bytes_of(bundles[commit])
