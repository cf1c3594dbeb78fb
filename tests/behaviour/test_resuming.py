"""A stream goes on where it stopped: on the other replica, over any binding."""

import json
from typing import Any

import pytest
from hosted import Agent
from raw import Answer, call
from test_refusals import BINDINGS, refused, said


def generations(answer: Answer) -> list[int]:
    """The numbers of the events in a stream, by their SSE ids or, over gRPC, by their metadata."""
    if isinstance(answer.result, str):
        return [int(line[4:]) for line in answer.result.splitlines() if line.startswith("id: ")]
    found = []
    for event in answer.result:
        [change] = event.values()
        found.append(int(change["metadata"]["parley.dev/generation"]))
    return found


def events(answer: Answer) -> list[Any]:
    """What the events of a stream say, alike for every binding."""
    if not isinstance(answer.result, str):
        return list(answer.result)
    data = [json.loads(line[6:]) for line in answer.result.splitlines() if line.startswith("data: ")]
    return [d.get("result", d) for d in data]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_what_was_missed_is_the_same_on_the_other_replica(
    replicas: dict[str, Agent], binding: str
) -> None:
    params = said("count 6 5")
    whole = await call(replicas["one"], binding, "SendStreamingMessage", params)
    numbers, said_before = generations(whole), events(whole)
    assert numbers == list(range(1, len(numbers) + 1))
    task_id = said_before[0]["task"]["id"]
    for seen in (1, 4, len(numbers) - 1, len(numbers)):
        headers = {"Last-Event-ID": str(seen)}
        for operation, again in (("SubscribeToTask", {"id": task_id}), ("SendStreamingMessage", params)):
            tail = await call(replicas["two"], binding, operation, again, headers)
            assert generations(tail) == numbers[seen:]
            assert events(tail) == said_before[seen:]


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("last", ["x", "-1", "1.5", "1000000"])
async def test_an_event_that_never_was_is_refused(
    replicas: dict[str, Agent], binding: str, last: str
) -> None:
    whole = await call(replicas["one"], binding, "SendMessage", said("echo"))
    task_id = whole.result["task"]["id"]
    headers = {"Last-Event-ID": last}
    answer = await call(replicas["two"], binding, "SubscribeToTask", {"id": task_id}, headers)
    refused(answer, binding, "INVALID_PARAMS", "Last-Event-ID")
