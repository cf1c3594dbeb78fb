"""What children made, read from their tasks: validated, bounded, and never taken for instructions."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from a2a.types import a2a_pb2 as pb
from pydantic import BaseModel, ValidationError

from parley_agents.artifacts import (
    CHANGE,
    GIT_BUNDLE,
    JUNIT,
    PLAN,
    SARIF,
    TESTS,
    Change,
    Plan,
    TestReport,
    Verdict,
)
from parley_agents.bundles import Exchange, data_of
from parley_agents.orchestrator.errors import BadAnswer
from parley_agents.orchestrator.plan import faults
from parley_core.errors import ParleyError
from parley_runtime.claims import described, inline

M = TypeVar("M", bound=BaseModel)

MAX_JSON = 16 * 1024 * 1024
"""Bytes of one plan, change summary, test report, SARIF or JUnit document."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A coder's answer: the change and, unless it changed nothing, the bundle that holds it."""

    change: Change
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A reviewer's answer: its word, the SARIF document as it came, and the results in it."""

    verdict: Verdict
    sarif: str
    results: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Tested:
    """A tester's answer: the report, and the JUnit document as it came ("" when there is none)."""

    report: TestReport
    junit: str


def parts_of(task: pb.Task) -> Iterator[pb.Part]:
    """All parts of a task's artifacts, those added last first."""
    for artifact in reversed(task.artifacts):
        yield from reversed(artifact.parts)


def plan_in(task: pb.Task) -> Plan:
    """The plan a planner made. Raises BadAnswer that names every fault."""
    plan = _model(task, PLAN, Plan)
    found = faults(plan)
    if found:
        raise BadAnswer("the plan cannot be followed: " + "; ".join(found))
    return plan


async def change_in(task: pb.Task, base: str, exchange: Exchange) -> Changed:
    """The change a coder made on top of `base`. Raises BadAnswer."""
    change = _model(task, CHANGE, Change)
    if change.base != base:
        raise BadAnswer(f"the change is on top of {change.base[:12]}, but {base[:12]} was asked for")
    if change.commit == base:
        return Changed(change, b"")
    for part in parts_of(task):
        if part.media_type == GIT_BUNDLE or part.filename == f"{change.commit}.bundle":
            try:
                return Changed(change, await exchange.bytes_of(part))
            except ParleyError as error:
                raise BadAnswer(f"the bundle of the change cannot be read: {error}") from error
    raise BadAnswer(f"the change {change.commit[:12]} came without its git bundle")


def review_in(task: pb.Task) -> Reviewed:
    """What a reviewer found. Raises BadAnswer."""
    text = _text(task, SARIF)
    try:
        sarif = json.loads(text)
        run = sarif["runs"][0]
        results = tuple(one for one in run.get("results") or () if isinstance(one, dict))
        verdict = Verdict.model_validate(run["properties"]["parley"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadAnswer(
            f"the review is not SARIF with a verdict in runs[0].properties.parley ({_short(error)})"
        ) from error
    return Reviewed(verdict, text, results)


def tests_in(task: pb.Task) -> Tested:
    """How the tests went. Raises BadAnswer."""
    report = _model(task, TESTS, TestReport)
    try:
        junit = _text(task, JUNIT)
    except BadAnswer:
        if report.verdict == "passed":
            raise
        junit = ""
    return Tested(report, junit)


async def kept(task: pb.Task, exchange: Exchange) -> pb.Task:
    """The task as the journal keeps it: no history, bundles where we can read them again, documents in it."""
    copy = pb.Task(id=task.id, context_id=task.context_id, status=task.status)
    for artifact in task.artifacts:
        mine = copy.artifacts.add()
        mine.CopyFrom(artifact)
        for part in mine.parts:
            if part.media_type == GIT_BUNDLE and part.WhichOneof("content") in ("raw", "url"):
                try:
                    data = await exchange.bytes_of(part)
                    part.CopyFrom(await exchange.part(data, GIT_BUNDLE, part.filename))
                except ParleyError:
                    continue  # whoever needs it will say what is wrong with it
            elif 0 < described(part)[1] <= MAX_JSON:
                try:
                    inline(part, await exchange.bytes_of(part))
                except ParleyError:
                    continue
    return copy


def _model(task: pb.Task, media_type: str, kind: type[M]) -> M:
    for part in parts_of(task):
        if part.media_type.partition(";")[0] != media_type:
            continue
        if part.ByteSize() > MAX_JSON:
            raise BadAnswer(f"its {media_type} is larger than {MAX_JSON // 2**20} MiB")
        try:
            data = data_of(part)
            return kind.model_validate(data) if data is not None else kind.model_validate_json(_raw(part))
        except ValidationError as error:
            raise BadAnswer(f"its {media_type} is malformed: {_faults(error)}") from error
    raise BadAnswer(f"it made no {media_type}{_instead(task.artifacts)}")


def _text(task: pb.Task, media_type: str) -> str:
    for part in parts_of(task):
        if part.media_type.partition(";")[0] != media_type:
            continue
        if part.ByteSize() > MAX_JSON:
            raise BadAnswer(f"its {media_type} is larger than {MAX_JSON // 2**20} MiB")
        data = data_of(part)
        return (
            json.dumps(data, ensure_ascii=False)
            if data is not None
            else _raw(part).decode("utf-8", "replace")
        )
    raise BadAnswer(f"it made no {media_type}{_instead(task.artifacts)}")


def _raw(part: pb.Part) -> bytes:
    return part.text.encode() if part.WhichOneof("content") == "text" else part.raw


def _instead(artifacts: Iterable[pb.Artifact]) -> str:
    types = sorted({part.media_type or "text/plain" for one in artifacts for part in one.parts})
    return f", but {', '.join(types[:5])}" if types else ""


def _faults(error: ValidationError) -> str:
    found = [f"{'.'.join(str(p) for p in one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
    return "; ".join(found)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
