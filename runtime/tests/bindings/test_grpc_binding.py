"""gRPC: statuses with their details, versions, resumption, and nothing of the inside."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb_v03
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import A2AServiceStub as CompatStub
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub
from a2a.utils import errors as a2a
from google.rpc import error_details_pb2, status_pb2

from parley_core.identity import Anonymous, Identity, Unauthenticated
from parley_runtime.bindings.grpc import start_grpc

V1 = (("a2a-version", "1.0"),)


@dataclass
class Called:
    """A scripted front behind a real gRPC server."""

    front: Any
    stub: A2AServiceStub
    compat: CompatStub
    channel: grpc.aio.Channel


@pytest.fixture
async def called(served: Any) -> AsyncIterator[Called]:
    server = await start_grpc(served.front, Anonymous(), "127.0.0.1:0", max_message_bytes=100_000)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Called(served.front, A2AServiceStub(channel), CompatStub(channel), channel)
    await server.stop(0)


async def failure(call: Any) -> tuple[grpc.StatusCode, str, list[Any]]:
    """Code, message and details of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    found = []
    for packed in status.details:
        kind = error_details_pb2.ErrorInfo if "ErrorInfo" in packed.type_url else error_details_pb2.BadRequest
        detail = kind()
        packed.Unpack(detail)
        found.append(detail)
    return caught.value.code(), caught.value.details() or "", found


async def test_calls_reach_the_front_with_their_parameters(called: Called) -> None:
    task = await called.stub.GetTask(pb.GetTaskRequest(id="t", tenant="acme"), metadata=V1)
    assert task.id == "t-1"
    name, params, context, _ = called.front.calls[0]
    assert (name, params.id, context.tenant, context.user.user_name) == ("GetTask", "t", "acme", "local")


@pytest.mark.parametrize("kind", [k for k in a2a.A2A_ERROR_MAPPING if k.__module__ == a2a.__name__])
async def test_every_protocol_error_has_its_status_and_reason(
    called: Called, kind: type[a2a.A2AError]
) -> None:
    called.front.answer = kind(message="no", data={"taskId": "t"})
    mapping = a2a.A2A_ERROR_MAPPING[kind]
    calls: list[Callable[[], Any]] = [
        lambda: called.stub.GetTask(pb.GetTaskRequest(id="t"), metadata=V1),
        lambda: called.stub.SubscribeToTask(pb.SubscribeToTaskRequest(id="t"), metadata=V1).read(),
        lambda: called.compat.GetTask(pb_v03.GetTaskRequest(name="tasks/t")),
    ]
    for call in calls:
        code, message, [info] = await failure(call())
        assert (code.name, message) == (mapping.grpc_status, "no")
        assert (info.reason, info.domain) == (mapping.reason, "a2a-protocol.org")
        assert info.metadata == {"taskId": "t"}


async def test_an_unexpected_error_is_internal_and_tells_nothing_of_the_inside(called: Called) -> None:
    called.front.answer = RuntimeError("password=hunter2")
    for call in (
        called.stub.GetTask(pb.GetTaskRequest(id="t"), metadata=V1),
        called.stub.SubscribeToTask(pb.SubscribeToTaskRequest(id="t"), metadata=V1).read(),
        called.compat.GetTask(pb_v03.GetTaskRequest(name="tasks/t")),
    ):
        code, message, [info] = await failure(call)
        assert code == grpc.StatusCode.INTERNAL
        assert "hunter2" not in message
        assert info.reason == "INTERNAL_ERROR"


@pytest.mark.parametrize("version", ["", "0.3", "1.5", "banana"])
async def test_the_current_service_wants_the_current_version(called: Called, version: str) -> None:
    metadata = (("a2a-version", version),)
    code, _, [info] = await failure(called.stub.GetTask(pb.GetTaskRequest(id="t"), metadata=metadata))
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERSION_NOT_SUPPORTED")


async def test_the_0_3_service_takes_0_3_alone(called: Called) -> None:
    request = pb_v03.GetTaskRequest(name="tasks/t")
    assert (await called.compat.GetTask(request)).id == "t-1"
    assert (await called.compat.GetTask(request, metadata=(("a2a-version", "0.3.0"),))).id == "t-1"
    code, _, [info] = await failure(called.compat.GetTask(request, metadata=V1))
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERSION_NOT_SUPPORTED")
    code, _, _ = await failure(called.compat.GetTask(pb_v03.GetTaskRequest(name="nonsense")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_goes_on_after_last_event_id(called: Called) -> None:
    metadata = (*V1, ("last-event-id", "17"))
    call = called.stub.SubscribeToTask(pb.SubscribeToTaskRequest(id="t"), metadata=metadata)
    assert [event async for event in call] == []
    assert called.front.calls[0][3] == 17
    bad = (*V1, ("last-event-id", "x"))
    code, _, details = await failure(
        called.stub.SubscribeToTask(pb.SubscribeToTaskRequest(id="t"), metadata=bad).read()
    )
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details[1].field_violations[0].field == "Last-Event-ID"


async def test_bytes_that_are_no_request_are_an_invalid_argument(called: Called) -> None:
    for service in ("lf.a2a.v1", "a2a.v1"):
        raw = called.channel.unary_unary(f"/{service}.A2AService/GetTask")
        code, _, _ = await failure(raw(b"\xff\xff\xff\xff", metadata=V1))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
    stream = called.channel.unary_stream("/lf.a2a.v1.A2AService/SubscribeToTask")
    code, _, _ = await failure(stream(b"\xff\xff\xff\xff", metadata=V1).read())
    assert code == grpc.StatusCode.INVALID_ARGUMENT


async def test_what_json_cannot_hold_is_refused(called: Called) -> None:
    request = pb.SendMessageRequest(message=pb.Message(message_id="m", role=pb.ROLE_USER))
    request.message.parts.add().data.number_value = math.nan
    code, _, _ = await failure(called.stub.SendMessage(request, metadata=V1))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert not called.front.calls


async def test_a_message_beyond_the_limit_is_refused(called: Called) -> None:
    request = pb.GetTaskRequest(id="x" * 200_000)
    code, _, _ = await failure(called.stub.GetTask(request, metadata=V1))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_who_does_not_prove_who_they_are_is_unauthenticated(served: Any) -> None:
    class OnlyAda:
        async def authenticate(self, headers: Any) -> Identity:
            if headers.get("authorization") != "Bearer ada":
                raise Unauthenticated("a token is needed", "Bearer")
            return Identity("ada")

        aclose = Anonymous.aclose

    server = await start_grpc(served.front, OnlyAda(), "127.0.0.1:0")  # type: ignore[arg-type]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = A2AServiceStub(channel)
        for call in (
            stub.GetTask(pb.GetTaskRequest(id="t"), metadata=V1),
            stub.SubscribeToTask(pb.SubscribeToTaskRequest(id="t"), metadata=V1).read(),
        ):
            code, message, _ = await failure(call)
            assert (code, message) == (grpc.StatusCode.UNAUTHENTICATED, "a token is needed")
        await stub.GetTask(pb.GetTaskRequest(id="t"), metadata=(*V1, ("authorization", "Bearer ada")))
    await server.stop(0)
    assert served.front.calls[0][2].user.user_name == "ada"


async def test_a_stream_that_is_being_written_ends_with_its_status_when_the_host_stops(served: Any) -> None:
    async def pour(*_: Any) -> AsyncIterator[pb.TaskArtifactUpdateEvent]:
        while True:
            part = pb.Part(text="x" * 1000)
            yield pb.TaskArtifactUpdateEvent(
                task_id="t-1", artifact=pb.Artifact(artifact_id="a", parts=[part])
            )

    async def read_to_the_end(stub: A2AServiceStub) -> tuple[Any, ...]:
        stream = stub.SubscribeToTask(pb.SubscribeToTaskRequest(id="t-1"), metadata=V1)
        while True:
            try:
                await stream.read()
            except grpc.aio.AioRpcError as error:
                return error.code(), "last-event-id" in str(error.details())

    served.front.on_subscribe_to_task = pour
    for _ in range(5):
        server = await start_grpc(served.front, Anonymous(), "127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            reading = [asyncio.create_task(read_to_the_end(A2AServiceStub(channel))) for _ in range(10)]
            await asyncio.sleep(0.1)
            server.end_streams()
            async with asyncio.timeout(20):
                ends = await asyncio.gather(*reading)
        assert set(ends) == {(grpc.StatusCode.UNAVAILABLE, True)}
        await server.stop(0)


async def test_a_host_that_stops_ends_its_streams_so_that_clients_move_on(served: Any) -> None:
    closed = asyncio.Event()

    async def hold(*_: Any) -> AsyncIterator[pb.Task]:
        try:
            yield pb.Task(id="t-1", context_id="c-1")
            await asyncio.Event().wait()
        finally:
            closed.set()

    served.front.on_subscribe_to_task = hold
    server = await start_grpc(served.front, Anonymous(), "127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stream = A2AServiceStub(channel).SubscribeToTask(pb.SubscribeToTaskRequest(id="t-1"), metadata=V1)
        assert (await stream.read()).task.id == "t-1"
        server.end_streams()
        code, message, _ = await failure(stream.read())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "last-event-id" in message
    assert closed.is_set()
    await server.stop(0)
