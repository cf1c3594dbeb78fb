"""Whatever is sent: an answer in the protocol's words, soon, never an internal error, and no half-made task."""

import contextlib
import json
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import orjson
import pytest
from a2a.server.routes._jsonrpc_schema import METHOD_TYPES
from a2a.types import a2a_pb2 as pb
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hosted import Agent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

OLD_METHODS = [
    "message/send",
    "message/stream",
    "tasks/get",
    "tasks/cancel",
    "tasks/resubscribe",
    "tasks/pushNotificationConfig/set",
    "tasks/pushNotificationConfig/get",
    "tasks/pushNotificationConfig/list",
    "tasks/pushNotificationConfig/delete",
    "agent/getAuthenticatedExtendedCard",
]
quick = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["ROLE_USER", "TASK_STATE_WORKING", "2025-01-01T00:00:00Z", "a\u0000b", "x" * 700])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def dumped(value: Any) -> bytes:
    """JSON as Python writes it: with escaped surrogates and integers of any size."""
    return json.dumps(value).encode()


def shaped(descriptor: Descriptor, depth: int = 4) -> st.SearchStrategy[Any]:
    """Objects with the fields of a protocol message, some right, some not."""
    fields = {}
    for field in descriptor.fields:
        right = rightly(field, depth)
        fields[field.json_name] = st.one_of(right, right, right, values)
    return st.fixed_dictionaries({}, optional=fields)


def rightly(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        known = field.message_type.file.package != "google.protobuf" and depth > 0
        one: st.SearchStrategy[Any] = shaped(field.message_type, depth - 1) if known else values
    elif field.type == FieldDescriptor.TYPE_ENUM:
        one = st.sampled_from([v.name for v in field.enum_type.values])
    elif field.type == FieldDescriptor.TYPE_BOOL:
        one = st.booleans()
    elif field.type == FieldDescriptor.TYPE_INT32:
        one = st.integers(-1, 200)
    else:
        one = st.text(max_size=10)
    return st.lists(one, max_size=2) if field.is_repeated else one


current = st.one_of(
    [st.tuples(st.just(name), shaped(kind.DESCRIPTOR)) for name, kind in METHOD_TYPES.items()]  # type: ignore[attr-defined]
)
old_message = st.fixed_dictionaries(
    {},
    optional={
        "messageId": st.text(max_size=5) | values,
        "role": st.sampled_from(["user", "agent"]) | values,
        "parts": st.lists(
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["text", "file", "data"])},
                optional={"text": st.text(max_size=5), "file": values, "data": values, "metadata": values},
            ),
            max_size=2,
        )
        | values,
        "kind": st.just("message"),
        "metadata": values,
        "extensions": values,
        "referenceTaskIds": values,
    },
)
old = st.tuples(
    st.sampled_from(OLD_METHODS),
    st.fixed_dictionaries(
        {},
        optional={
            "message": old_message,
            "id": st.text(max_size=5) | values,
            "configuration": values,
            "metadata": values,
            "taskId": values,
            "pushNotificationConfig": values,
            "historyLength": values,
        },
    )
    | values,
)


@pytest.fixture(scope="module")
def http(running: dict[str, Agent]) -> Any:
    """A client of an agent that nothing else talks to."""
    with httpx.Client(base_url=running["promising"].url, timeout=8, headers={"A2A-Version": "1.0"}) as client:
        yield client


@pytest.fixture(scope="module")
def door(running: dict[str, Agent]) -> Any:
    """A gRPC channel to the same agent."""
    with grpc.insecure_channel(f"127.0.0.1:{running['promising'].grpc_port}") as channel:
        yield channel


def total(http: httpx.Client) -> int:
    return int(http.get("/a2a/rest/tasks").json()["totalSize"])


def post(http: httpx.Client, body: bytes, version: str = "1.0") -> tuple[httpx.Response, dict[str, Any]]:
    headers = {"content-type": "application/json", "A2A-Version": version}
    response = http.post("/a2a/jsonrpc", content=body, headers=headers)
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
        return response, orjson.loads(lines[0][6:])
    return response, response.json()


def check(document: dict[str, Any]) -> bool:
    """Whether it is a result; an error must be one that the sender can do something about."""
    assert document["jsonrpc"] == "2.0"
    if "error" in document:
        assert document["error"]["code"] != -32603, document
        assert isinstance(document["error"]["message"], str)
        return False
    return True


@quick
@given(body=st.binary(max_size=200) | values.map(dumped))
def test_any_bytes(http: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = http.post("/a2a/jsonrpc", content=body, headers=headers)
    assert response.status_code == 200
    assert response.json()["error"]["code"] in (-32700, -32600, -32602)


@quick
@given(called=current)
def test_any_parameters_of_current_operations(http: httpx.Client, called: tuple[str, Any]) -> None:
    before = total(http)
    method, params = called
    body = dumped({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    _, document = post(http, body)
    made = check(document) and method in ("SendMessage", "SendStreamingMessage")
    assert total(http) - before == int(made)


@quick
@given(called=old)
def test_any_parameters_of_0_3_methods(http: httpx.Client, called: tuple[str, Any]) -> None:
    before = total(http)
    method, params = called
    _, document = post(http, dumped({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}), "0.3")
    made = check(document) and method.startswith("message/")
    assert total(http) - before == int(made)


segments = st.sampled_from(["tasks", "message:send", "x", "x:cancel", "pushNotificationConfigs", "v1", "%00"])


@quick
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"]),
    path=st.lists(segments | st.text(max_size=5).filter(lambda t: t not in (".", "..")), max_size=4),
    query=st.dictionaries(
        st.sampled_from(
            ["status", "pageSize", "pageToken", "historyLength", "statusTimestampAfter", "tenant"]
        ),
        st.text(max_size=8),
    ),
    body=st.just(b"") | values.map(dumped),
    version=st.sampled_from(["1.0", "0.3", "", "9"]),
)
def test_any_path_query_and_body_over_rest(
    http: httpx.Client, method: str, path: list[str], query: dict[str, str], body: bytes, version: str
) -> None:
    url = "/a2a/rest/" + "/".join(quote(segment, safe=":%") for segment in path)
    headers = {"content-type": "application/json", "A2A-Version": version}
    response = http.request(method, url, params=query, content=body, headers=headers)
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and method != "HEAD" and "/rest/" in response.url.path:
        assert response.json()["error"]["code"] == response.status_code


@quick
@given(
    path=st.sampled_from(
        ["message:send", "message:stream", "tasks/x:cancel", "tasks/x/pushNotificationConfigs"]
    ),
    body=shaped(pb.SendMessageRequest.DESCRIPTOR) | shaped(pb.TaskPushNotificationConfig.DESCRIPTOR) | values,
    version=st.sampled_from(["1.0", "0.3"]),
)
def test_any_body_over_rest(http: httpx.Client, path: str, body: Any, version: str) -> None:
    prefix = "/a2a/rest/" if version == "1.0" else "/a2a/rest/v1/"
    headers = {"content-type": "application/a2a+json", "A2A-Version": version}
    response = http.post(prefix + path, content=dumped(body), headers=headers)
    assert response.status_code < 500, response.text


@quick
@given(
    service=st.sampled_from(["lf.a2a.v1", "a2a.v1"]),
    called=current,
    noise=st.binary(max_size=30),
    version=st.sampled_from(["1.0", "0.3", ""]),
)
def test_any_bytes_over_grpc(
    door: grpc.Channel, service: str, called: tuple[str, Any], noise: bytes, version: str
) -> None:
    method, _ = called
    call = door.unary_stream(f"/{service}.A2AService/{method}")
    answer = call(noise, metadata=(("a2a-version", version),), timeout=8)
    with contextlib.suppress(grpc.RpcError):
        list(answer)
    faults = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert answer.code() not in faults, answer
