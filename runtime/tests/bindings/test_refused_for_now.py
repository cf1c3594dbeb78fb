"""What a call is told that cannot be taken now, but may be in a moment: by a full backlog, or a store that is away."""

from typing import Any

import grpc
import grpc.aio
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub
from google.rpc import error_details_pb2, status_pb2

from parley_core.errors import Unavailable
from parley_core.identity import Anonymous
from parley_runtime.bindings.grpc import start_grpc
from parley_runtime.store import Overloaded

FULL = Overloaded("the agent's backlog is full", 7.2)
AWAY = Unavailable("connection refused by 10.0.0.7")
MESSAGE = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}}
HEADERS = {"A2A-Version": "1.0"}

CASES = [
    (FULL, 429, "RESOURCE_EXHAUSTED", "BACKLOG_FULL", "8", "backlog"),
    (AWAY, 503, "UNAVAILABLE", "UNAVAILABLE", "1", "store"),
]


@pytest.mark.parametrize(("error", "status", "code", "reason", "after", "words"), CASES)
async def test_over_rest_it_is_a_status_with_retry_after(
    served: Any, error: Exception, status: int, code: str, reason: str, after: str, words: str
) -> None:
    served.front.answer = error
    response = await served.client.post("/a2a/rest/message:send", json=MESSAGE, headers=HEADERS)
    assert (response.status_code, response.headers["retry-after"]) == (status, after)
    said = response.json()["error"]
    assert said["status"] == code
    assert words in said["message"]
    assert "10.0.0.7" not in response.text
    details = {one["@type"].rpartition(".")[2]: one for one in said["details"]}
    assert details["ErrorInfo"]["reason"] == reason
    assert details["RetryInfo"]["retryDelay"] == f"{after}s"


@pytest.mark.parametrize(("error", "status", "code", "reason", "after", "words"), CASES)
async def test_over_json_rpc_it_is_an_error_that_says_when(
    served: Any, error: Exception, status: int, code: str, reason: str, after: str, words: str
) -> None:
    served.front.answer = error
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": MESSAGE}
    response = await served.client.post("/a2a/jsonrpc", json=call, headers=HEADERS)
    assert response.headers["retry-after"] == after
    said = response.json()["error"]
    assert words in said["message"]
    assert said["data"][0]["reason"] == reason
    assert said["data"][1]["retryDelay"] == f"{after}s"


@pytest.mark.parametrize(("error", "status", "code", "reason", "after", "words"), CASES)
async def test_over_grpc_it_is_a_status_with_retry_info(
    served: Any, error: Exception, status: int, code: str, reason: str, after: str, words: str
) -> None:
    served.front.answer = error
    server = await start_grpc(served.front, Anonymous(), "127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await A2AServiceStub(channel).GetTask(
                pb.GetTaskRequest(id="t"), metadata=(("a2a-version", "1.0"),)
            )
    await server.stop(0)
    assert caught.value.code() is grpc.StatusCode[code]
    assert words in (caught.value.details() or "")
    trailers = dict(caught.value.trailing_metadata() or ())
    packed = status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details[1]
    retry = error_details_pb2.RetryInfo()
    assert packed.Unpack(retry)
    assert retry.retry_delay.seconds == int(after)
