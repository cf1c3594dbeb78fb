"""JSON-RPC: what is answered to good and bad requests."""

from typing import Any

import orjson
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a

from parley_runtime.bindings.failures import mapping

MESSAGE = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}


def error_of(response: Any) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    return error


def reason_of(response: Any) -> str:
    return str(error_of(response)["data"][0]["reason"])


def violated(response: Any) -> list[str]:
    return [v["field"] for v in error_of(response)["data"][1]["fieldViolations"]]


async def test_a_task_is_answered_as_the_specification_shows_it(served: Any) -> None:
    response = await served.rpc("SendMessage", MESSAGE, id="abc")
    assert response.json()["id"] == "abc"
    assert response.json()["result"]["task"]["status"]["state"] == "TASK_STATE_WORKING"
    assert served.front.calls[0][2].user.user_name == "local"


async def test_a_tenant_reaches_the_front(served: Any) -> None:
    await served.rpc("GetTask", {"id": "t", "tenant": "acme"})
    assert served.front.calls[0][2].tenant == "acme"


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":NaN}}', -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"\\ud800"}}', -32700, None),
        (b"[" * 5000, -32700, None),
        (b"[]", -32600, None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]', -32600, None),
        (b"3", -32600, None),
        (b'{"jsonrpc":"2.0","method":"GetTask","params":{"id":"t"}}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"GetTask"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"GetTask"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{},"method":"GetTask"}', -32600, None),
        (b'{"jsonrpc":"1.0","id":7,"method":"GetTask"}', -32600, 7),
        (b'{"id":"x","method":"GetTask"}', -32600, "x"),
        (b'{"jsonrpc":"2.0","id":7}', -32600, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":5}', -32600, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"Nothing"}', -32601, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":[1]}', -32602, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":null}', -32602, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":"x"}', -32602, 7),
        (
            b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":' + b'{"a":' * 60 + b"1" + b"}" * 61,
            -32602,
            None,
        ),
    ],
)
async def test_a_malformed_envelope_gets_its_code(
    served: Any, body: bytes, code: int, request_id: Any
) -> None:
    response = await served.client.post(
        "/a2a/jsonrpc", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 200
    assert (error_of(response)["code"], response.json()["id"]) == (code, request_id)
    assert not served.front.calls


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("ListTasks", {"status": "FOO"}, "status"),
        ("ListTasks", {"status": "task_state_working"}, "status"),
        ("ListTasks", {"status": 99}, "status"),
        ("ListTasks", {"status": ["TASK_STATE_WORKING"]}, "status"),
        ("ListTasks", {"pageSize": "many"}, "pageSize"),
        ("ListTasks", {"pageSize": 2**40}, "pageSize"),
        ("ListTasks", {"statusTimestampAfter": "yesterday"}, "statusTimestampAfter"),
        ("SendMessage", {"message": {"role": "USER", "messageId": "m"}}, "message.role"),
        ("SendMessage", {"message": {"parts": 3}}, "message.parts"),
        ("SendMessage", {"message": {"parts": [{"text": "a"}, {"raw": "%%"}]}}, "message.parts[1].raw"),
        ("SendMessage", {"message": {"parts": [{"text": 5}]}}, "message.parts.text"),
        ("SendMessage", {"configuration": {"historyLength": 1e30}}, "configuration.historyLength"),
        ("SendStreamingMessage", {"message": {"role": "USER"}}, "message.role"),
    ],
)
async def test_a_parameter_that_is_not_what_it_should_be_is_named(
    served: Any, method: str, params: dict[str, Any], field: str
) -> None:
    response = await served.rpc(method, params)
    assert error_of(response)["code"] == -32602
    assert reason_of(response) == "INVALID_PARAMS"
    assert violated(response) == [field]
    assert not served.front.calls


async def test_unknown_fields_are_ignored(served: Any) -> None:
    response = await served.rpc("GetTask", {"id": "t", "fromTheFuture": {"status": "FOO"}})
    assert "result" in response.json()


@pytest.mark.parametrize("kind", [k for k in a2a.JSON_RPC_ERROR_CODE_MAP if k.__module__ == a2a.__name__])
async def test_every_protocol_error_has_its_code_and_reason(served: Any, kind: type[a2a.A2AError]) -> None:
    served.front.answer = kind(message="no", data={"taskId": "t"})
    for method in ("GetTask", "SubscribeToTask"):
        response = await served.rpc(method, {"id": "t"})
        assert response.status_code == 200
        assert error_of(response)["code"] == a2a.JSON_RPC_ERROR_CODE_MAP[kind]
        info = error_of(response)["data"][0]
        assert info["domain"] == "a2a-protocol.org"
        assert info["reason"] == mapping(kind()).reason
        assert info["metadata"] == {"taskId": "t"}


async def test_an_unexpected_error_tells_nothing_of_the_inside(served: Any) -> None:
    served.front.answer = RuntimeError("password=hunter2")
    for method in ("GetTask", "SubscribeToTask", "tasks/get"):
        response = (
            await served.rpc(method, {"id": "t"})
            if "/" not in method
            else await served.client.post(
                "/a2a/jsonrpc",
                json={"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": "t"}},
                headers={"A2A-Version": "0.3"},
            )
        )
        assert error_of(response)["code"] == -32603
        assert "hunter2" not in response.text
        assert "trace" in error_of(response)["message"]


async def test_other_verbs_and_media_types_are_turned_away(served: Any) -> None:
    got = await served.client.get("/a2a/jsonrpc")
    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "t"}})
    for content_type in ({"content-type": "text/plain"}, {}):
        refused = await served.client.post("/a2a/jsonrpc", content=body, headers=content_type)
        assert refused.status_code == 415
    empty = await served.client.post("/a2a/jsonrpc", headers={"content-type": "application/json"})
    assert error_of(empty)["code"] == -32700
    accepted = await served.client.post(
        "/a2a/jsonrpc", content=body, headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert "result" in accepted.json()


async def test_a_body_beyond_the_limit_is_413_declared_or_not(served: Any) -> None:
    async def chunks() -> Any:
        for _ in range(11):
            yield b" " * 10_000

    headers = {"content-type": "application/json"}
    for content in (b" " * 110_000, chunks()):
        response = await served.client.post("/a2a/jsonrpc", content=content, headers=headers)
        assert response.status_code == 413
        assert error_of(response)["code"] == -32600


@pytest.mark.parametrize(
    ("version", "good"),
    [("1.0", True), ("1.0.7", True)]
    + [(bad, False) for bad in ("", "0.3", "1.5", "2.0", "1", "banana", "1.0.0.0", "01.0x")],
)
async def test_the_version_must_match_major_and_minor(served: Any, version: str, good: bool) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "t"}}
    del served.client.headers["A2A-Version"]
    for call in (
        served.client.post("/a2a/jsonrpc", json=body, headers={"A2A-Version": version}),
        served.client.post("/a2a/jsonrpc", json=body, params={"A2A-Version": version}),
    ):
        response = await call
        if good:
            assert "result" in response.json()
        else:
            assert error_of(response)["code"] == -32009
            assert reason_of(response) == "VERSION_NOT_SUPPORTED"


async def test_0_3_methods_answer_0_3_clients_and_no_others(served: Any) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "t"}}
    current = await served.client.post("/a2a/jsonrpc", json=body)
    assert error_of(current)["code"] == -32009
    old = await served.client.post("/a2a/jsonrpc", json=body, headers={"A2A-Version": ""})
    assert old.json()["result"]["status"]["state"] == "working"
    bad = await served.client.post(
        "/a2a/jsonrpc", json=body | {"params": {"id": 5}}, headers={"A2A-Version": "0.3"}
    )
    assert error_of(bad)["code"] == -32602


async def test_extensions_are_gathered_from_every_header(served: Any) -> None:
    headers = [("A2A-Extensions", "https://a/1, https://b/2"), ("A2A-Extensions", "https://c/3")]
    body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "t"}}
    await served.client.post("/a2a/jsonrpc", json=body, headers=[*headers, ("A2A-Version", "1.0")])
    assert served.front.calls[0][2].requested_extensions == {"https://a/1", "https://b/2", "https://c/3"}


async def test_a_message_too_deep_to_be_stored_is_refused(served: Any) -> None:
    deep: Any = 1
    for _ in range(25):
        deep = {"a": deep}
    message = MESSAGE["message"] | {"parts": [{"data": deep}]}
    assert "result" in (await served.rpc("SendMessage", {"message": message})).json()
    stored = served.front.calls[0][1].message
    again = pb.StreamResponse.FromString(
        pb.StreamResponse(task=pb.Task(history=[stored])).SerializeToString()
    )
    assert again.task.history[0] == stored
    message["parts"] = [{"data": {"a": {"b": {"c": deep}}}}]
    assert error_of(await served.rpc("SendMessage", {"message": message}))["code"] == -32602
