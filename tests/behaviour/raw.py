"""One call of any operation over any binding, without a client in between: what exactly is answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import grpc.aio
import httpx
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2, status_pb2
from hosted import Agent

STREAMS = frozenset({"SendStreamingMessage", "SubscribeToTask"})
_CONFIGS = "/tasks/{taskId}/pushNotificationConfigs"
_PATHS = {
    "SendMessage": ("POST", "/message:send"),
    "SendStreamingMessage": ("POST", "/message:stream"),
    "GetTask": ("GET", "/tasks/{id}"),
    "ListTasks": ("GET", "/tasks"),
    "CancelTask": ("POST", "/tasks/{id}:cancel"),
    "SubscribeToTask": ("POST", "/tasks/{id}:subscribe"),
    "CreateTaskPushNotificationConfig": ("POST", _CONFIGS),
    "GetTaskPushNotificationConfig": ("GET", _CONFIGS + "/{id}"),
    "ListTaskPushNotificationConfigs": ("GET", _CONFIGS),
    "DeleteTaskPushNotificationConfig": ("DELETE", _CONFIGS + "/{id}"),
    "GetExtendedAgentCard": ("GET", "/extendedAgentCard"),
}
_REQUESTS: dict[str, Any] = {
    "SendMessage": pb.SendMessageRequest,
    "SendStreamingMessage": pb.SendMessageRequest,
    "GetTask": pb.GetTaskRequest,
    "ListTasks": pb.ListTasksRequest,
    "CancelTask": pb.CancelTaskRequest,
    "SubscribeToTask": pb.SubscribeToTaskRequest,
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "GetTaskPushNotificationConfig": pb.GetTaskPushNotificationConfigRequest,
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsRequest,
    "DeleteTaskPushNotificationConfig": pb.DeleteTaskPushNotificationConfigRequest,
    "GetExtendedAgentCard": pb.GetExtendedAgentCardRequest,
}


@dataclass(frozen=True)
class Answer:
    """What came back: a result, or an error's code in its binding's terms, reason, and fields at fault."""

    code: int | str
    """JSON-RPC code, HTTP status, or name of the gRPC status; 0, 200 or "OK" for a result."""
    reason: str = ""
    domain: str = ""
    fields: tuple[str, ...] = ()
    message: str = ""
    result: Any = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        return self.code in (0, 200, "OK")


async def call(
    agent: Agent,
    binding: str,
    operation: str,
    params: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Call `operation` of an agent with ProtoJSON parameters. Headers replace the version's if they name it."""
    sent = {"a2a-version": "1.0"} | {name.lower(): value for name, value in (headers or {}).items()}
    if binding == "GRPC":
        return await _grpc(agent, operation, params, sent)
    async with httpx.AsyncClient(base_url=agent.url, timeout=20, headers=sent, verify=False) as http:
        if binding == "JSONRPC":
            body = {"jsonrpc": "2.0", "id": 1, "method": operation, "params": params}
            return _jsonrpc(await http.post("/a2a/jsonrpc", json=body))
        return await _rest(http, operation, dict(params))


def _jsonrpc(response: httpx.Response) -> Answer:
    if response.headers["content-type"].startswith("text/event-stream"):
        return Answer(0, result=response.text)
    document = response.json()
    if "result" in document:
        return Answer(0, result=document["result"])
    error = document["error"]
    if response.status_code != 200:
        return Answer(response.status_code, message=error["message"])
    return _described(error["code"], error["message"], error["data"])


async def _rest(http: httpx.AsyncClient, operation: str, params: dict[str, Any]) -> Answer:
    method, template = _PATHS[operation]
    path = template.format(**{name: quote(str(value), safe="") for name, value in params.items()})
    rest = {name: value for name, value in params.items() if f"{{{name}}}" not in template}
    extra: dict[str, Any] = {"json": rest} if method == "POST" else {"params": rest}
    response = await http.request(method, f"/a2a/rest{path}", **extra)
    if response.status_code == 200:
        streamed = response.headers["content-type"].startswith("text/event-stream")
        return Answer(200, result=response.text if streamed else response.json())
    error = response.json()["error"]
    assert error["code"] == response.status_code
    return _described(response.status_code, error["message"], error.get("details", []))


def _described(code: int, message: str, details: list[dict[str, Any]]) -> Answer:
    info = next((d for d in details if d["@type"].endswith("ErrorInfo")), {})
    bad = next((d for d in details if d["@type"].endswith("BadRequest")), {"fieldViolations": []})
    assert all(isinstance(v, str) for v in info.get("metadata", {}).values())
    fields = tuple(v["field"] for v in bad["fieldViolations"])
    return Answer(code, info.get("reason", ""), info.get("domain", ""), fields, message)


async def _grpc(
    agent: Agent, operation: str, params: Mapping[str, Any], headers: Mapping[str, str]
) -> Answer:
    request = ParseDict(json.loads(json.dumps(params)), _REQUESTS[operation](), ignore_unknown_fields=True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{agent.grpc_port}") as channel:
        method = getattr(A2AServiceStub(channel), operation)
        pending = method(request, metadata=tuple(headers.items()), timeout=20)
        try:
            if operation in STREAMS:
                return Answer("OK", result=[MessageToDict(event) async for event in pending])
            return Answer("OK", result=MessageToDict(await pending))
        except grpc.aio.AioRpcError as error:
            return _status(error)


def _status(error: grpc.aio.AioRpcError) -> Answer:
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    fields = tuple(v.field for v in bad.field_violations)
    return Answer(error.code().name, info.reason, info.domain, fields, error.details() or "")
