"""The hand-written JSON is the general conversion's JSON."""

from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_runtime.bindings.decode import decode
from parley_runtime.wire import read_artifact_update, read_plain_request, task_json, update_json

words = st.text(max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
optional_metadata = st.none() | st.dictionaries(words, json_values, max_size=2)


@st.composite
def parts(draw: st.DrawFn) -> pb.Part:
    part = pb.Part(filename=draw(words), media_type=draw(words))
    match draw(st.sampled_from(["text", "url", "raw", "data", ""])):
        case "text":
            part.text = draw(words)
        case "url":
            part.url = draw(words)
        case "raw":
            part.raw = draw(st.binary(max_size=6))
        case "data":
            ParseDict(draw(json_values), part.data)
    metadata = draw(optional_metadata)
    if metadata is not None:
        part.metadata.update(metadata)
    return part


@st.composite
def messages(draw: st.DrawFn) -> pb.Message:
    message = pb.Message(
        message_id=draw(words),
        context_id=draw(words),
        task_id=draw(words),
        role=draw(st.sampled_from([0, 1, 2])),
        parts=draw(st.lists(parts(), max_size=2)),
        extensions=draw(st.lists(words, max_size=2)),
        reference_task_ids=draw(st.lists(words, max_size=2)),
    )
    metadata = draw(optional_metadata)
    if metadata is not None:
        message.metadata.update(metadata)
    return message


@st.composite
def statuses(draw: st.DrawFn) -> pb.TaskStatus:
    status = pb.TaskStatus(state=draw(st.integers(0, 8)))
    if draw(st.booleans()):
        status.message.CopyFrom(draw(messages()))
    if draw(st.booleans()):
        unit = draw(st.sampled_from((1, 1_000, 1_000_000, 1_000_000_000)))
        status.timestamp.FromNanoseconds(draw(st.integers(-(2**60), 2**60)) // unit * unit)
    return status


@st.composite
def artifacts(draw: st.DrawFn) -> pb.Artifact:
    artifact = pb.Artifact(
        artifact_id=draw(words),
        name=draw(words),
        description=draw(words),
        parts=draw(st.lists(parts(), max_size=3)),
        extensions=draw(st.lists(words, max_size=2)),
    )
    metadata = draw(optional_metadata)
    if metadata is not None:
        artifact.metadata.update(metadata)
    return artifact


@st.composite
def tasks(draw: st.DrawFn) -> pb.Task:
    task = pb.Task(
        id=draw(words),
        context_id=draw(words),
        artifacts=draw(st.lists(artifacts(), max_size=2)),
        history=draw(st.lists(messages(), max_size=2)),
    )
    if draw(st.booleans()):
        task.status.CopyFrom(draw(statuses()))
    return task


@given(tasks())
@settings(max_examples=200, deadline=None)
def test_a_task_is_written_as_the_general_conversion_writes_it(task: pb.Task) -> None:
    assert task_json(task) == MessageToDict(task)


@given(st.builds(pb.TaskStatusUpdateEvent, task_id=words, context_id=words, status=st.none() | statuses()))
@settings(max_examples=100, deadline=None)
def test_a_status_update_too(event: pb.TaskStatusUpdateEvent) -> None:
    assert update_json(event) == MessageToDict(event)


@given(
    st.builds(
        pb.TaskArtifactUpdateEvent,
        artifact=st.none() | artifacts(),
        append=st.booleans(),
        last_chunk=st.booleans(),
    )
)
@settings(max_examples=200, deadline=None)
def test_an_artifact_update_is_written_and_read_back_the_same(event: pb.TaskArtifactUpdateEvent) -> None:
    assert update_json(event) == MessageToDict(event)
    assert read_artifact_update(update_json(event)) == ParseDict(
        MessageToDict(event), pb.TaskArtifactUpdateEvent()
    )


@st.composite
def nearly_plain_requests(draw: st.DrawFn) -> dict[str, Any]:
    """Requests of which most are plain, and the rest wrong or richer in one place or two."""
    message: dict[str, Any] = {
        "messageId": draw(words),
        "role": "ROLE_USER",
        "parts": draw(st.lists(st.fixed_dictionaries({"text": words}), max_size=2)),
    }
    request: dict[str, Any] = {"message": message}
    if draw(st.booleans()):
        message[draw(st.sampled_from(["contextId", "taskId", "context_id"]))] = draw(words)
    if draw(st.booleans()):
        request["configuration"] = draw(
            st.sampled_from(
                [{}, {"returnImmediately": True}, {"returnImmediately": False}, {"historyLength": 1}]
            )
        )
    places = [message, request, *message["parts"]]
    for _ in range(draw(st.integers(0, 2))):
        where = draw(st.sampled_from(places))
        name = draw(
            st.sampled_from(["messageId", "role", "parts", "text", "metadata", "message", "tenant", "x"])
        )
        where[name] = draw(json_values | st.sampled_from(["ROLE_AGENT", 1, [{"url": "u"}], [{"text": None}]]))
    return request


@given(nearly_plain_requests())
@settings(max_examples=500, deadline=None)
def test_a_plain_request_is_read_as_the_general_parser_reads_it_and_no_other_is_read(
    request: dict[str, Any],
) -> None:
    read = read_plain_request(request)
    if read is not None:
        assert read == decode(pb.SendMessageRequest, request)


def test_the_commonest_requests_are_plain() -> None:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}], "taskId": "t"}
    for more in ({}, {"configuration": {"returnImmediately": True}}, {"configuration": {}}):
        assert read_plain_request({"message": message, **more}) is not None
