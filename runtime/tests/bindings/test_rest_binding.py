"""HTTP+JSON: paths, query parameters, errors in google.rpc.Status."""

from typing import Any

import httpx
import orjson
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a

from parley_core.identity import Anonymous, Identity, Unauthenticated

BASE = "/a2a/rest"
MESSAGE = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}
CONFIG = "/tasks/t/pushNotificationConfigs"
CALLS = [
    ("POST", "/message:send", MESSAGE, "SendMessage"),
    ("GET", "/tasks/t", None, "GetTask"),
    ("GET", "/tasks", None, "ListTasks"),
    ("POST", "/tasks/t:cancel", None, "CancelTask"),
    ("POST", "/tasks/t:cancel", {}, "CancelTask"),
    ("POST", CONFIG, {"url": "https://x.example/"}, "CreateTaskPushNotificationConfig"),
    ("GET", CONFIG, None, "ListTaskPushNotificationConfigs"),
    ("GET", CONFIG + "/c", None, "GetTaskPushNotificationConfig"),
    ("DELETE", CONFIG + "/c", None, "DeleteTaskPushNotificationConfig"),
    ("POST", "/message:stream", MESSAGE, "SendStreamingMessage"),
    ("POST", "/tasks/t:subscribe", None, "SubscribeToTask"),
    ("GET", "/tasks/t:subscribe", None, "SubscribeToTask"),
]
ANSWERS = {
    "ListTasks": pb.ListTasksResponse(),
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig(id="c"),
    "GetTaskPushNotificationConfig": pb.TaskPushNotificationConfig(id="c"),
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsResponse(),
}


def error_of(response: Any) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    return error


@pytest.mark.parametrize("tenant", ["", "/acme", "/v1"])
@pytest.mark.parametrize(("method", "path", "body", "operation"), CALLS)
async def test_every_path_reaches_its_operation_with_and_without_tenant(
    served: Any, method: str, path: str, body: Any, operation: str, tenant: str
) -> None:
    served.front.answer = ANSWERS.get(operation, served.front.answer)
    response = await served.client.request(method, BASE + tenant + path, json=body)
    assert response.status_code == 200, response.text
    if "stream" not in response.headers["content-type"]:
        assert response.headers["content-type"] == "application/a2a+json"
    [(name, params, context, _)] = served.front.calls
    assert name == operation
    assert context.tenant == tenant[1:]
    if "/tasks/t" in path:
        assert (getattr(params, "task_id", "") or params.id) == "t"
    if path.endswith("/c"):
        assert params.id == "c"


async def test_the_extended_card_is_kept_by_nobody_else(build: Any, served: Any) -> None:
    class Ada:
        async def authenticate(self, headers: Any) -> Identity:
            return Identity("ada")

        aclose = Anonymous.aclose

    served.front.answer = pb.AgentCard(name="n")
    transport = httpx.ASGITransport(app=build(served.front, Ada()))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://x", headers={"A2A-Version": "1.0"}
    ) as client:
        for tenant in ("", "/acme"):
            response = await client.get(f"{BASE}{tenant}/extendedAgentCard")
            assert response.json() == {"name": "n"}
            assert response.headers["cache-control"].startswith("private")
            assert response.headers["content-type"] == "application/a2a+json"
    assert [context.tenant for _, _, context, _ in served.front.calls] == ["", "acme"]


async def test_cancel_carries_its_metadata(served: Any) -> None:
    await served.client.post(f"{BASE}/tasks/t:cancel", json={"metadata": {"why": "late"}})
    assert served.front.calls[0][1].metadata["why"] == "late"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=FOO", "status"),
        ("status=working", "status"),
        ("status=", "status"),
        ("pageSize=abc", "pageSize"),
        ("pageSize=1e3", "pageSize"),
        ("pageSize=99999999999", "pageSize"),
        ("historyLength=1.5", "historyLength"),
        ("includeArtifacts=yes", "includeArtifacts"),
        ("statusTimestampAfter=yesterday", "statusTimestampAfter"),
        ("statusTimestampAfter=2025-13-01T00:00:00Z", "statusTimestampAfter"),
    ],
)
async def test_a_bad_query_parameter_is_named(served: Any, query: str, field: str) -> None:
    response = await served.client.get(f"{BASE}/tasks?{query}")
    error = error_of(response)
    assert (response.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert error["details"][0]["reason"] == "INVALID_PARAMS"
    assert error["details"][1]["fieldViolations"][0]["field"] == field
    assert not served.front.calls


async def test_good_query_parameters_arrive(served: Any) -> None:
    served.front.answer = pb.ListTasksResponse()
    query = (
        "status=TASK_STATE_WORKING&pageSize=7&historyLength=0&includeArtifacts=true&contextId=a%2Fb"
        "&statusTimestampAfter=2025-11-09T10:30:00Z&unknown=1"
    )
    response = await served.client.get(f"{BASE}/tasks?{query}")
    assert response.status_code == 200
    params = served.front.calls[0][1]
    assert (params.status, params.page_size, params.context_id) == (pb.TASK_STATE_WORKING, 7, "a/b")
    assert params.HasField("history_length")
    assert params.include_artifacts
    assert params.status_timestamp_after.seconds == 1762684200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/tasks/a/b/c", 404),
        ("PUT", "/tasks/t", 405),
        ("GET", "/message:send", 405),
        ("GET", "/tasks/t:cancel", 405),
        ("DELETE", "/tasks", 405),
        ("PUT", "/acme/tasks/t/pushNotificationConfigs/c", 405),
    ],
)
async def test_other_paths_and_verbs_are_refused_in_the_same_format(
    served: Any, method: str, path: str, status: int
) -> None:
    response = await served.client.request(method, BASE + path)
    assert (response.status_code, error_of(response)["code"]) == (status, status)
    assert response.headers["content-type"] == "application/a2a+json"
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("kind", [k for k in a2a.A2A_ERROR_MAPPING if k.__module__ == a2a.__name__])
async def test_every_protocol_error_has_its_status_and_reason(served: Any, kind: type[a2a.A2AError]) -> None:
    served.front.answer = kind(message="no", data={"errors": [{"field": "f", "message": "m"}]})
    for path in ("/tasks/t", "/tasks/t:subscribe"):
        response = await served.client.get(BASE + path)
        mapping = a2a.A2A_ERROR_MAPPING[kind]
        error = error_of(response)
        assert (response.status_code, error["status"]) == (mapping.http_code, mapping.grpc_status)
        assert error["details"][0] == {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": mapping.reason,
            "domain": "a2a-protocol.org",
            "metadata": {},
        }
        assert response.headers["content-type"] == "application/a2a+json"


async def test_an_unexpected_error_tells_nothing_of_the_inside(served: Any) -> None:
    served.front.answer = RuntimeError("password=hunter2")
    for path, version in (("/tasks/t", "1.0"), ("/tasks/t:subscribe", "1.0"), ("/v1/tasks/t", "0.3")):
        response = await served.client.get(BASE + path, headers={"A2A-Version": version})
        assert response.status_code == 500
        assert "hunter2" not in response.text
        assert error_of(response)["details"][0]["reason"] == "INTERNAL_ERROR"


async def test_bodies_are_checked_as_over_jsonrpc(served: Any) -> None:
    url, headers = f"{BASE}/message:send", {"content-type": "application/a2a+json"}
    for body, status in ((b"{", 400), (b"", 400), (b"[]", 400), (b" " * 110_000, 413)):
        response = await served.client.post(url, content=body, headers=headers)
        assert response.status_code == status, body[:10]
    plain = await served.client.post(
        url, content=orjson.dumps(MESSAGE), headers={"content-type": "text/plain"}
    )
    assert plain.status_code == 415
    role = await served.client.post(url, json={"message": {"role": "USER"}})
    assert error_of(role)["details"][1]["fieldViolations"][0]["field"] == "message.role"
    assert not served.front.calls


@pytest.mark.parametrize("version", ["", "0.3", "1.5", "banana"])
async def test_current_paths_want_the_current_version(served: Any, version: str) -> None:
    response = await served.client.get(f"{BASE}/tasks/t", headers={"A2A-Version": version})
    assert response.status_code == 400
    assert error_of(response)["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"
    good = await served.client.get(f"{BASE}/tasks/t?A2A-Version=1.0", headers={"A2A-Version": ""})
    assert good.status_code == 200


async def test_0_3_paths_answer_0_3_clients(served: Any) -> None:
    client, old = served.client, {"A2A-Version": "0.3"}
    got = await client.get(f"{BASE}/v1/tasks/t", headers=old)
    assert got.json()["status"]["state"] == "TASK_STATE_WORKING"
    message = {"request": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}]}}
    sent = await client.post(f"{BASE}/v1/message:send", json=message, headers=old)
    assert sent.json()["task"]["id"] == "t-1"
    for bad in ({"request": {"role": "USER"}}, {"request": 5}, []):
        response = await client.post(f"{BASE}/v1/message:send", json=bad, headers=old)
        assert response.status_code == 400, bad
    length = await client.get(f"{BASE}/v1/tasks/t?historyLength=x", headers=old)
    assert length.status_code == 400
    served.front.answer = a2a.TaskNotFoundError()
    missing = await client.get(f"{BASE}/v1/tasks/t:subscribe", headers=old)
    assert missing.status_code == 404


async def test_who_does_not_prove_who_they_are_is_challenged(build: Any, served: Any) -> None:
    class OnlyAda:
        async def authenticate(self, headers: Any) -> Identity:
            if headers.get("authorization") != "Bearer ada":
                raise Unauthenticated("a token is needed", 'Bearer error="invalid_token"')
            return Identity("ada")

        aclose = Anonymous.aclose

    transport = httpx.ASGITransport(app=build(served.front, OnlyAda()))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for path in (f"{BASE}/tasks/t", "/a2a/jsonrpc"):
            refused = await client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        headers = {"authorization": "Bearer ada", "A2A-Version": "1.0"}
        assert (await client.get(f"{BASE}/tasks/t", headers=headers)).status_code == 200
        assert (await client.get("/.well-known/agent-card.json")).status_code == 200
    assert served.front.calls[0][2].user.user_name == "ada"
