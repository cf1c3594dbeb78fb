"""What is refused, and in which words: the specification's tables (5.4, 9.5, 10.6, 11.6) on every binding."""

import base64
import json
import uuid
from typing import Any

import httpx
import pytest
from hosted import Agent, Issuer
from raw import Answer, call

BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
EXTENSION = "https://example.com/extensions/required/v1"
TABLE: dict[str, tuple[int, int, str]] = {
    "TASK_NOT_FOUND": (-32001, 404, "NOT_FOUND"),
    "TASK_NOT_CANCELABLE": (-32002, 400, "FAILED_PRECONDITION"),
    "PUSH_NOTIFICATION_NOT_SUPPORTED": (-32003, 400, "FAILED_PRECONDITION"),
    "UNSUPPORTED_OPERATION": (-32004, 400, "FAILED_PRECONDITION"),
    "CONTENT_TYPE_NOT_SUPPORTED": (-32005, 400, "INVALID_ARGUMENT"),
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": (-32007, 400, "FAILED_PRECONDITION"),
    "EXTENSION_SUPPORT_REQUIRED": (-32008, 400, "FAILED_PRECONDITION"),
    "VERSION_NOT_SUPPORTED": (-32009, 400, "FAILED_PRECONDITION"),
    "INVALID_PARAMS": (-32602, 400, "INVALID_ARGUMENT"),
}
HOOK = {"taskId": "nothing", "url": "http://127.0.0.1:9/"}
CONFIG = {"taskId": "nothing", "id": "c"}


def said(text: str, **fields: Any) -> dict[str, Any]:
    """A SendMessageRequest as ProtoJSON."""
    message = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": text}]}
    return {"message": message | fields}


def refused(answer: Answer, binding: str, reason: str, *fields: str) -> None:
    code = TABLE[reason][BINDINGS.index(binding)]
    assert (answer.code, answer.reason, answer.domain) == (code, reason, "a2a-protocol.org")
    assert answer.message
    if fields:
        assert answer.fields == fields


@pytest.fixture(params=BINDINGS)
def binding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def one(running: dict[str, Agent]) -> Agent:
    return running["one"]


@pytest.mark.parametrize(
    ("card", "operation", "params", "reason"),
    [
        ("one", "GetTask", {"id": "nothing"}, "TASK_NOT_FOUND"),
        ("one", "CancelTask", {"id": "nothing"}, "TASK_NOT_FOUND"),
        ("one", "SubscribeToTask", {"id": "nothing"}, "TASK_NOT_FOUND"),
        ("one", "SendMessage", said("x", taskId="nothing"), "TASK_NOT_FOUND"),
        ("one", "SendStreamingMessage", said("x", taskId="nothing"), "TASK_NOT_FOUND"),
        ("one", "CreateTaskPushNotificationConfig", HOOK, "TASK_NOT_FOUND"),
        ("one", "GetTaskPushNotificationConfig", CONFIG, "TASK_NOT_FOUND"),
        ("one", "ListTaskPushNotificationConfigs", {"taskId": "nothing"}, "TASK_NOT_FOUND"),
        ("one", "DeleteTaskPushNotificationConfig", CONFIG, "TASK_NOT_FOUND"),
        ("one", "SendMessage", said("refuse x"), "CONTENT_TYPE_NOT_SUPPORTED"),
        ("one", "SendStreamingMessage", said("refuse x"), "CONTENT_TYPE_NOT_SUPPORTED"),
        ("modest", "SendStreamingMessage", said("echo"), "UNSUPPORTED_OPERATION"),
        ("modest", "SubscribeToTask", {"id": "nothing"}, "UNSUPPORTED_OPERATION"),
        ("modest", "GetExtendedAgentCard", {}, "UNSUPPORTED_OPERATION"),
        ("modest", "CreateTaskPushNotificationConfig", HOOK, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        ("modest", "GetTaskPushNotificationConfig", CONFIG, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        ("modest", "ListTaskPushNotificationConfigs", {"taskId": "x"}, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        ("modest", "DeleteTaskPushNotificationConfig", CONFIG, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        (
            "modest",
            "SendMessage",
            said("echo") | {"configuration": {"taskPushNotificationConfig": {"url": "http://127.0.0.1:9/"}}},
            "PUSH_NOTIFICATION_NOT_SUPPORTED",
        ),
        ("promising", "GetExtendedAgentCard", {}, "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
        ("strict", "SendMessage", said("echo"), "EXTENSION_SUPPORT_REQUIRED"),
        ("strict", "SendStreamingMessage", said("echo"), "EXTENSION_SUPPORT_REQUIRED"),
        ("strict", "GetTask", {"id": "nothing"}, "EXTENSION_SUPPORT_REQUIRED"),
        ("strict", "ListTasks", {}, "EXTENSION_SUPPORT_REQUIRED"),
    ],
)
async def test_refusals_are_worded_by_the_tables(
    running: dict[str, Agent], binding: str, card: str, operation: str, params: dict[str, Any], reason: str
) -> None:
    refused(await call(running[card], binding, operation, params), binding, reason)


async def test_a_task_that_has_ended_refuses_what_comes_too_late(one: Agent, binding: str) -> None:
    task = (await call(one, binding, "SendMessage", said("echo"))).result["task"]
    for operation, params, reason in (
        ("CancelTask", {"id": task["id"]}, "TASK_NOT_CANCELABLE"),
        ("SubscribeToTask", {"id": task["id"]}, "UNSUPPORTED_OPERATION"),
        ("SendMessage", said("x", taskId=task["id"]), "UNSUPPORTED_OPERATION"),
        ("SendStreamingMessage", said("x", taskId=task["id"]), "UNSUPPORTED_OPERATION"),
    ):
        refused(await call(one, binding, operation, params), binding, reason)


@pytest.mark.parametrize("version", ["", "0.3", "1.5", "2.0", "nonsense"])
async def test_no_operation_is_run_in_a_version_it_does_not_have(
    one: Agent, binding: str, version: str
) -> None:
    for operation, params in (("SendMessage", said("echo")), ("SendStreamingMessage", said("echo"))):
        answer = await call(one, binding, operation, params, {"A2A-Version": version})
        refused(answer, binding, "VERSION_NOT_SUPPORTED")


@pytest.mark.parametrize("version", ["1.0", "1.0.1"])
async def test_a_patch_number_says_nothing(one: Agent, binding: str, version: str) -> None:
    assert (await call(one, binding, "ListTasks", {}, {"A2A-Version": version})).ok


MESSAGE = said("x")["message"]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message"),
        ({"role": "ROLE_USER", "parts": [{"text": "x"}]}, "message.messageId"),
        ({"messageId": "m", "parts": [{"text": "x"}]}, "message.role"),
        ({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "x"}]}, "message.role"),
        ({"messageId": "m", "role": "ROLE_USER"}, "message.parts"),
        ({"messageId": "m", "role": "ROLE_USER", "parts": [{}]}, "message.parts[0]"),
        ({"messageId": "m" * 600, "role": "ROLE_USER", "parts": [{"text": "x"}]}, "message.messageId"),
        ({"messageId": "m\u0000", "role": "ROLE_USER", "parts": [{"text": "x"}]}, "message.messageId"),
        (
            {"messageId": "m", "contextId": "c\u0000", "role": "ROLE_USER", "parts": [{"text": "x"}]},
            "message.contextId",
        ),
    ],
)
async def test_a_message_that_lacks_something_names_the_field_and_leaves_no_task(
    one: Agent, binding: str, message: dict[str, Any], field: str
) -> None:
    context_id = str(uuid.uuid4())
    params = {"message": {"contextId": context_id} | message} if message else {}
    for operation in ("SendMessage", "SendStreamingMessage"):
        answer = await call(one, binding, operation, params)
        refused(answer, binding, "INVALID_PARAMS")
        assert field.lower() in [name.lower().replace("_", "") for name in answer.fields], answer
    listed = await call(one, binding, "ListTasks", {"contextId": context_id})
    assert not listed.result.get("tasks")


@pytest.mark.parametrize(
    ("operation", "params", "field"),
    [
        ("ListTasks", {"pageSize": 0}, "pageSize"),
        ("ListTasks", {"pageSize": 101}, "pageSize"),
        ("ListTasks", {"pageToken": "made-up"}, "pageToken"),
        ("ListTasks", {"historyLength": -1}, "historyLength"),
        ("GetTask", {"id": "x", "historyLength": -1}, "historyLength"),
        ("SendMessage", said("x") | {"configuration": {"historyLength": -1}}, "historyLength"),
        ("CreateTaskPushNotificationConfig", {"taskId": "{task}"}, "url"),
        ("CreateTaskPushNotificationConfig", {"taskId": "{task}", "url": "file:///etc/passwd"}, "url"),
        ("CreateTaskPushNotificationConfig", {"taskId": "{task}", "url": "http://169.254.169.254/"}, "url"),
        (
            "SendMessage",
            said("x") | {"configuration": {"taskPushNotificationConfig": {"url": "http://10.0.0.1/"}}},
            "configuration.taskPushNotificationConfig.url",
        ),
    ],
)
async def test_a_parameter_out_of_bounds_is_named(
    one: Agent, binding: str, operation: str, params: dict[str, Any], field: str
) -> None:
    if params.get("taskId") == "{task}":
        asked = await call(one, binding, "SendMessage", said("ask"))
        params = params | {"taskId": asked.result["task"]["id"]}
    answer = await call(one, binding, operation, params)
    refused(answer, binding, "INVALID_PARAMS")
    assert any(name.endswith(field.rpartition(".")[2]) for name in answer.fields), answer


NUL = "x\0y"
LISTED_AFTER_NUL = base64.urlsafe_b64encode(b'[1.0,"x\\u0000y"]').decode().rstrip("=")


@pytest.mark.parametrize(
    ("operation", "params", "field"),
    [
        ("GetTask", {"id": NUL}, "id"),
        ("CancelTask", {"id": NUL}, "id"),
        ("SubscribeToTask", {"id": NUL}, "id"),
        ("ListTasks", {"contextId": NUL}, "contextId"),
        ("ListTasks", {"tenant": NUL}, "tenant"),
        ("ListTasks", {"pageToken": LISTED_AFTER_NUL}, "pageToken"),
        ("SendMessage", said("echo", messageId=NUL), "message.messageId"),
        ("SendMessage", said("echo", taskId=NUL), "message.taskId"),
        ("SendMessage", said("echo", contextId=NUL), "message.contextId"),
        ("SendStreamingMessage", said("echo", contextId=NUL), "message.contextId"),
        ("SendMessage", said("echo") | {"tenant": NUL}, "tenant"),
        (
            "SendMessage",
            said("echo")
            | {"configuration": {"taskPushNotificationConfig": {"id": NUL, "url": "http://127.0.0.1:9/"}}},
            "configuration.taskPushNotificationConfig.id",
        ),
        ("CreateTaskPushNotificationConfig", {"taskId": "{task}", "id": NUL, "url": HOOK["url"]}, "id"),
        ("CreateTaskPushNotificationConfig", {"taskId": "{task}", "url": HOOK["url"] + NUL}, "url"),
        ("GetTaskPushNotificationConfig", {"taskId": "{task}", "id": NUL}, "id"),
        ("ListTaskPushNotificationConfigs", {"taskId": NUL}, "taskId"),
        ("DeleteTaskPushNotificationConfig", {"taskId": "{task}", "id": NUL}, "id"),
    ],
)
async def test_a_name_that_no_database_holds_is_refused_on_every_profile(
    replicas: dict[str, Agent], binding: str, operation: str, params: dict[str, Any], field: str
) -> None:
    if params.get("taskId") == "{task}":
        asked = await call(replicas["one"], binding, "SendMessage", said("ask"))
        params = params | {"taskId": asked.result["task"]["id"]}
    answer = await call(replicas["two"], binding, operation, params)
    refused(answer, binding, "INVALID_PARAMS")
    assert [name.lower().replace("_", "") for name in answer.fields] == [field.lower()], answer


async def test_how_a_task_went_is_not_told_of_a_name_that_no_database_holds(
    replicas: dict[str, Agent],
) -> None:
    async with httpx.AsyncClient(base_url=replicas["one"].url) as http:
        assert (await http.get("/parley/v1/tasks/x%00y/trace")).status_code == 404


async def test_a_media_type_the_card_does_not_name_is_refused(one: Agent, binding: str) -> None:
    params = said("x", parts=[{"url": "https://x.example/a.png", "mediaType": "image/png"}])
    refused(await call(one, binding, "SendMessage", params), binding, "CONTENT_TYPE_NOT_SUPPORTED")


async def test_a_declared_extension_opens_the_door_and_reaches_the_executor(
    running: dict[str, Agent], binding: str
) -> None:
    headers = {"A2A-Extensions": f"https://other.example/x, {EXTENSION}"}
    answer = await call(running["strict"], binding, "SendMessage", said("whoami"), headers)
    seen = json.loads(answer.result["task"]["artifacts"][0]["parts"][0]["text"])
    assert seen["extensions"] == [EXTENSION, "https://other.example/x"]


async def test_the_executor_learns_who_calls_but_not_their_credentials(
    running: dict[str, Agent], issuer: Issuer, binding: str
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('ada')}", "X-Hint": "blue"}
    answer = await call(running["guarded"], binding, "SendMessage", said("whoami"), headers)
    seen = json.loads(answer.result["task"]["artifacts"][0]["parts"][0]["text"])
    assert seen["user"] == "https://issuer.example|ada"
    assert seen["headers"]["x-hint"] == "blue"
    assert "authorization" not in seen["headers"]


async def test_what_is_anothers_does_not_exist(
    running: dict[str, Agent], issuer: Issuer, binding: str
) -> None:
    guarded = running["guarded"]
    ada, eve = ({"Authorization": f"Bearer {issuer.token(name)}"} for name in ("ada", "eve"))
    task = (await call(guarded, binding, "SendMessage", said("ask"), ada)).result["task"]
    hook = {"taskId": task["id"], "id": "c", "url": "http://127.0.0.1:9/"}
    assert (await call(guarded, binding, "CreateTaskPushNotificationConfig", hook, ada)).ok
    named = {"taskId": task["id"], "id": "c"}
    for operation, params in (
        ("GetTask", {"id": task["id"]}),
        ("CancelTask", {"id": task["id"]}),
        ("SubscribeToTask", {"id": task["id"]}),
        ("SendMessage", said("x", taskId=task["id"])),
        ("SendStreamingMessage", said("x", taskId=task["id"])),
        ("CreateTaskPushNotificationConfig", hook),
        ("GetTaskPushNotificationConfig", named),
        ("ListTaskPushNotificationConfigs", {"taskId": task["id"]}),
        ("DeleteTaskPushNotificationConfig", named),
    ):
        refused(await call(guarded, binding, operation, params, eve), binding, "TASK_NOT_FOUND")
    theirs = await call(guarded, binding, "ListTasks", {"contextId": task["contextId"]}, eve)
    assert not theirs.result.get("tasks")
    assert (await call(guarded, binding, "GetTask", {"id": task["id"]}, ada)).result == task


async def test_the_extended_card_is_for_who_proves_who_they_are(
    running: dict[str, Agent], issuer: Issuer, binding: str
) -> None:
    ada = {"Authorization": f"Bearer {issuer.token('ada')}"}
    told = await call(running["guarded"], binding, "GetExtendedAgentCard", {}, ada)
    assert [skill["id"] for skill in told.result["skills"]] == ["obey", "secret"]
    for agent in ("one", "guarded"):  # the first knows nobody: a caller on loopback has proved nothing
        refusal = await call(running[agent], binding, "GetExtendedAgentCard", {})
        assert refusal.code == ("UNAUTHENTICATED" if binding == "GRPC" else 401)


async def test_who_proves_nothing_gets_nothing(running: dict[str, Agent], binding: str) -> None:
    for headers in ({}, {"Authorization": "Bearer made.up.token"}, {"Authorization": "Basic YTpi"}):
        for operation, params in (("SendMessage", said("echo")), ("SubscribeToTask", {"id": "x"})):
            if binding == "GRPC":
                answer = await call(running["guarded"], binding, operation, params, headers)
                assert answer.code == "UNAUTHENTICATED"
                continue
            path = "/a2a/jsonrpc" if binding == "JSONRPC" else "/a2a/rest/message:send"
            async with httpx.AsyncClient(base_url=running["guarded"].url, verify=False) as http:
                response = await http.post(path, json=params, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")


def test_the_card_is_cached_and_public(running: dict[str, Agent]) -> None:
    url = f"{running['guarded'].url}/.well-known/agent-card.json"
    card = httpx.get(url)
    assert card.status_code == 200
    assert "max-age" in card.headers["cache-control"]
    assert httpx.get(url, headers={"If-None-Match": card.headers["etag"]}).status_code == 304
    served = {(i["protocolBinding"], i["protocolVersion"]) for i in card.json()["supportedInterfaces"]}
    assert served == {(binding, version) for binding in BINDINGS for version in ("1.0", "0.3")}


def test_pages_of_other_origins_and_other_names_are_turned_away(one: Agent) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        response = httpx.post(f"{one.url}/a2a/jsonrpc", json=body, headers={"A2A-Version": "1.0"} | headers)
        assert response.status_code in (403, 421)
