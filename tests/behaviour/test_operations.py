"""The eleven operations, through the a2a-sdk's own clients: every binding, both versions, one replica or two
in turns on one file."""

import asyncio
import uuid
from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a
from hosted import message, text_of

S = pb.TaskState


async def send(wired: Any, text: str, *, at_once: bool = False, **fields: Any) -> pb.Task:
    """The task that a blocking (or immediate) SendMessage answers with."""
    request = pb.SendMessageRequest(message=message(text, **fields))
    request.configuration.return_immediately = at_once
    [answer] = [event async for event in wired.client.send_message(request)]
    assert answer.HasField("task"), answer
    return answer.task


async def collected(stream: Any) -> list[pb.StreamResponse]:
    return [event async for event in stream]


def refusal(wired: Any, kind: type[Exception]) -> Any:
    """0.3 clients of the SDK raise one class for all; what is refused is the same."""
    return pytest.raises(kind if wired.version == "1.0" else a2a.A2AError)


def current(wired: Any) -> None:
    if wired.version != "1.0":
        pytest.skip("not an operation of 0.3, or not of the SDK's client for it")


async def test_a_message_is_answered_by_its_finished_task(wired: Any) -> None:
    task = await send(wired, "echo hello", context_id="c-" + str(uuid.uuid4()))
    assert task.status.state == S.TASK_STATE_COMPLETED
    assert task.context_id.startswith("c-")
    assert text_of(task) == "echo hello"
    assert [m.parts[0].text for m in task.history] == ["echo hello"]


async def test_a_context_is_made_when_none_is_named(wired: Any) -> None:
    first, second = await send(wired, "echo 1"), await send(wired, "echo 2")
    assert first.context_id
    assert first.context_id != second.context_id
    third = await send(wired, "echo 3", context_id=first.context_id)
    assert third.context_id == first.context_id
    assert third.id != first.id


async def test_an_agent_may_answer_by_a_message_alone(wired: Any) -> None:
    for client in (wired.client, wired.streaming):
        request = pb.SendMessageRequest(message=message("message hi there"))
        [answer] = await collected(client.send_message(request))
        assert answer.message.parts[0].text == "hi there"
        assert answer.message.context_id


async def test_a_stream_begins_with_the_task_and_ends_with_its_end(wired: Any) -> None:
    request = pb.SendMessageRequest(message=message("count 5 1"))
    events = await collected(wired.streaming.send_message(request))
    assert events[0].HasField("task")
    chunks = [e.artifact_update.artifact.parts[0].text for e in events if e.HasField("artifact_update")]
    assert chunks == ["0", "1", "2", "3", "4"]
    assert events[-1].status_update.status.state == S.TASK_STATE_COMPLETED
    stored = await wired.client.get_task(pb.GetTaskRequest(id=events[0].task.id))
    assert text_of(stored) == "01234"


@pytest.mark.parametrize(
    ("order", "state"),
    [
        ("fail because", S.TASK_STATE_FAILED),
        ("reject", S.TASK_STATE_REJECTED),
        ("ask", S.TASK_STATE_INPUT_REQUIRED),
        ("login", S.TASK_STATE_AUTH_REQUIRED),
    ],
)
async def test_a_blocking_send_returns_at_every_end_and_at_every_question(
    wired: Any, order: str, state: int
) -> None:
    assert (await send(wired, order)).status.state == state


async def test_an_immediate_send_returns_a_task_that_goes_on(wired: Any) -> None:
    task = await send(wired, "count 3 20", at_once=True)
    assert task.status.state in (S.TASK_STATE_SUBMITTED, S.TASK_STATE_WORKING)
    async with asyncio.timeout(60):
        while task.status.state != S.TASK_STATE_COMPLETED:
            await asyncio.sleep(0.02)
            task = await wired.client.get_task(pb.GetTaskRequest(id=task.id))
    assert text_of(task) == "012"


async def test_a_question_is_answered_by_naming_the_task_alone(wired: Any) -> None:
    asked = await send(wired, "ask")
    answered = await send(wired, "echo this", task_id=asked.id)
    assert (answered.id, answered.context_id) == (asked.id, asked.context_id)
    assert answered.status.state == S.TASK_STATE_COMPLETED
    texts = [p.text for m in answered.history for p in m.parts]
    assert texts[0] == "ask"
    assert texts[-1] == "echo this"
    assert "which?" in texts


async def test_a_message_to_a_task_must_fit_it(wired: Any) -> None:
    asked = await send(wired, "ask")
    with refusal(wired, a2a.InvalidParamsError):
        await send(wired, "echo", task_id=asked.id, context_id="another")
    with refusal(wired, a2a.TaskNotFoundError):
        await send(wired, "echo", task_id="there-is-none")
    ended = await send(wired, "echo", task_id=asked.id)
    with refusal(wired, a2a.UnsupportedOperationError):
        await send(wired, "echo more", task_id=ended.id)
    again = await wired.client.get_task(pb.GetTaskRequest(id=ended.id))
    assert again == ended


async def test_the_same_message_twice_is_one_task_and_another_body_is_refused(wired: Any) -> None:
    message_id = str(uuid.uuid4())
    first = await send(wired, "echo once", message_id=message_id)
    assert (await send(wired, "echo once", message_id=message_id)).id == first.id
    with refusal(wired, a2a.InvalidParamsError):
        await send(wired, "echo other", message_id=message_id)


async def test_history_is_as_long_as_asked(wired: Any) -> None:
    asked = await send(wired, "ask")
    task = await send(wired, "echo", task_id=asked.id)
    whole = len(task.history)
    assert whole >= 3
    for length, expected in ((None, whole), (0, 0), (1, 1), (2, 2), (1000, whole)):
        request = pb.GetTaskRequest(id=task.id)
        if length is not None:
            request.history_length = length
        if wired.version == "0.3" and length == 0:
            continue  # the SDK's 0.3 clients do not send a 0
        got = await wired.client.get_task(request)
        assert len(got.history) == expected
        if expected:
            assert got.history[-1] == task.history[-1]


async def test_a_task_that_is_not_there_is_not_found(wired: Any) -> None:
    with refusal(wired, a2a.TaskNotFoundError):
        await wired.client.get_task(pb.GetTaskRequest(id="nothing"))
    with refusal(wired, a2a.TaskNotFoundError):
        await wired.client.cancel_task(pb.CancelTaskRequest(id="nothing"))
    with refusal(wired, a2a.TaskNotFoundError):
        await collected(wired.streaming.subscribe(pb.SubscribeToTaskRequest(id="nothing")))


async def test_cancel_ends_a_running_task_and_refuses_an_ended_one(wired: Any) -> None:
    task = await send(wired, "wait", at_once=True)
    canceled = await wired.client.cancel_task(pb.CancelTaskRequest(id=task.id))
    assert canceled.status.state == S.TASK_STATE_CANCELED
    with refusal(wired, a2a.TaskNotCancelableError):
        await wired.client.cancel_task(pb.CancelTaskRequest(id=task.id))


async def test_an_agent_may_refuse_to_cancel(wired: Any) -> None:
    task = await send(wired, "stubborn", at_once=True)
    with refusal(wired, a2a.TaskNotCancelableError):
        await wired.client.cancel_task(pb.CancelTaskRequest(id=task.id))


async def test_subscribers_see_the_task_as_it_is_and_then_all_of_it(wired: Any) -> None:
    task = await send(wired, "count 6 30", at_once=True)
    streams = [collected(wired.streaming.subscribe(pb.SubscribeToTaskRequest(id=task.id))) for _ in range(2)]
    for events in await asyncio.gather(*streams):
        assert events[0].HasField("task")
        begun = text_of(events[0].task)
        added = [e.artifact_update.artifact.parts[0].text for e in events if e.HasField("artifact_update")]
        assert begun + "".join(added) == "012345"
        assert events[-1].status_update.status.state == S.TASK_STATE_COMPLETED
    with refusal(wired, a2a.UnsupportedOperationError):
        await collected(wired.streaming.subscribe(pb.SubscribeToTaskRequest(id=task.id)))


async def test_a_refusal_by_the_agent_leaves_no_task(wired: Any) -> None:
    context_id = str(uuid.uuid4())
    for client in (wired.client, wired.streaming):
        with refusal(wired, a2a.ContentTypeNotSupportedError):
            await collected(
                client.send_message(
                    pb.SendMessageRequest(message=message("refuse no", context_id=context_id))
                )
            )
    if wired.version == "1.0":
        listed = await wired.client.list_tasks(pb.ListTasksRequest(context_id=context_id))
        assert not listed.tasks


async def test_tasks_are_listed_newest_first_page_by_page(wired: Any) -> None:
    current(wired)
    context_id = str(uuid.uuid4())
    made = [await send(wired, f"echo {n}", context_id=context_id) for n in range(5)]
    asked = await send(wired, "ask", context_id=context_id)
    seen: list[pb.Task] = []
    token, pages = "", 0
    while True:
        request = pb.ListTasksRequest(context_id=context_id, page_size=2, page_token=token)
        page = await wired.client.list_tasks(request)
        assert (page.page_size, page.total_size) == (2, 6)
        seen.extend(page.tasks)
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    assert pages == 3
    assert [t.id for t in seen] == [asked.id, *(t.id for t in reversed(made))]
    assert not any(t.artifacts for t in seen)
    times = [t.status.timestamp.ToNanoseconds() for t in seen]
    assert times == sorted(times, reverse=True)


async def test_lists_are_filtered_and_filled_as_asked(wired: Any) -> None:
    current(wired)
    context_id = str(uuid.uuid4())
    done = await send(wired, "echo x", context_id=context_id)
    asked = await send(wired, "ask", context_id=context_id)

    async def listed(**fields: Any) -> list[pb.Task]:
        request = pb.ListTasksRequest(context_id=context_id, **fields)
        return list((await wired.client.list_tasks(request)).tasks)

    assert [t.id for t in await listed(status=S.TASK_STATE_INPUT_REQUIRED)] == [asked.id]
    assert (await listed(status_timestamp_after=done.status.timestamp))[0].id == asked.id
    [only] = await listed(status=S.TASK_STATE_COMPLETED, include_artifacts=True, history_length=0)
    assert text_of(only) == "echo x"
    assert not only.history
    for wrong in ({"page_size": 0}, {"page_size": 101}, {"page_size": -1}, {"page_token": "made-up"}):
        with pytest.raises(a2a.InvalidParamsError):
            await listed(**wrong)
    with pytest.raises(a2a.InvalidParamsError):
        await listed(history_length=-1)


async def test_push_configurations_are_kept_until_deleted(wired: Any) -> None:
    client = wired.client
    task = await send(wired, "ask")
    config = pb.TaskPushNotificationConfig(
        task_id=task.id, id="mine", url="http://127.0.0.1:9/hook", token="t"
    )
    made = await client.create_task_push_notification_config(config)
    assert (made.id, made.url) == ("mine", config.url)
    wanted = pb.GetTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
    assert (await client.get_task_push_notification_config(wanted)).url == config.url
    if wired.version == "1.0":
        nameless = pb.TaskPushNotificationConfig(task_id=task.id, url=config.url)
        second = await client.create_task_push_notification_config(nameless)
        assert second.id
        all_of_it = pb.ListTaskPushNotificationConfigsRequest(task_id=task.id)
        listed = await client.list_task_push_notification_configs(all_of_it)
        assert {c.id for c in listed.configs} == {"mine", second.id}
        gone = pb.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
        for _ in range(2):
            await client.delete_task_push_notification_config(gone)
        with pytest.raises(a2a.TaskNotFoundError):
            await client.get_task_push_notification_config(wanted)
    with refusal(wired, a2a.InvalidParamsError):
        await client.create_task_push_notification_config(
            pb.TaskPushNotificationConfig(task_id=task.id, id="bad", url="http://169.254.169.254/")
        )
    with refusal(wired, a2a.TaskNotFoundError):
        await client.create_task_push_notification_config(
            pb.TaskPushNotificationConfig(task_id="nothing", id="bad", url=config.url)
        )
