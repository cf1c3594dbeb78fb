"""A task is the fold of its events, for writers and readers alike."""

import orjson
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidAgentResponseError
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_runtime.store import MESSAGE, StoredTask
from parley_runtime.task import GENERATION, VERSION, TaskFold, apply, fold, submitted

USER = pb.Message(message_id="m1", role=pb.ROLE_USER, parts=[pb.Part(text="hi")], task_id="t", context_id="c")


def fresh(message: pb.Message | None = USER) -> TaskFold:
    return TaskFold("t", "c", None, 0, message)


def status(state: int, text: str = "") -> pb.TaskStatusUpdateEvent:
    event = pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=state))
    if text:
        event.status.message.CopyFrom(
            pb.Message(message_id=text, role=pb.ROLE_AGENT, parts=[pb.Part(text=text)])
        )
    return event


def chunk(artifact: str, text: str, append: bool = False, **more: object) -> pb.TaskArtifactUpdateEvent:
    return pb.TaskArtifactUpdateEvent(
        artifact=pb.Artifact(artifact_id=artifact, parts=[pb.Part(text=text)], **more), append=append
    )


def read_back(changes: list) -> pb.Task | None:
    task = None
    for change in changes:
        task = apply(task, change.body, change.message)
    return task


def test_a_task_says_which_version_runs_it_and_again_when_another_one_does() -> None:
    first = TaskFold("t", "c", None, 0, USER, "1.0.0")
    changes = first.change(status(pb.TASK_STATE_WORKING))
    changes += first.change(status(pb.TASK_STATE_INPUT_REQUIRED))
    task = read_back(changes)
    assert task is not None
    assert task.metadata[VERSION] == "1.0.0"
    assert [VERSION in change.body.decode() for change in changes] == [True, False, False]
    same = TaskFold("t", "c", task, first.generation, USER, "1.0.0")
    assert VERSION not in same.change(status(pb.TASK_STATE_WORKING))[0].body.decode()
    other = TaskFold("t", "c", task, first.generation, USER, "2.0.0")
    changes += other.change(status(pb.TASK_STATE_WORKING))
    after = read_back(changes)
    assert after is not None
    assert other.task is not None
    assert after.metadata[VERSION] == other.task.metadata[VERSION] == "2.0.0"


def test_an_update_before_any_task_begins_the_task_with_the_users_message() -> None:
    made = fresh().change(status(pb.TASK_STATE_WORKING))
    assert [next(iter(orjson.loads(c.body))) for c in made] == ["task", "statusUpdate"]
    task = read_back(made)
    assert [m.message_id for m in task.history] == ["m1"]
    assert task.status.state == pb.TASK_STATE_WORKING


def test_every_event_carries_its_generation() -> None:
    log = fresh()
    bodies = [
        orjson.loads(c.body)
        for event in (
            pb.Task(),
            status(pb.TASK_STATE_WORKING),
            chunk("a", "x"),
            status(pb.TASK_STATE_COMPLETED),
        )
        for c in log.change(event)
    ]
    inner = [next(iter(body.values())) for body in bodies]
    assert [event["metadata"][GENERATION] for event in inner] == [1, 2, 3, 4]


def test_a_message_alone_is_the_whole_answer_and_ends_the_exchange() -> None:
    log = fresh()
    [reply] = log.change(pb.Message(message_id="r", role=pb.ROLE_AGENT, parts=[pb.Part(text="yo")]))
    assert reply.state == MESSAGE
    assert orjson.loads(reply.body)["message"]["contextId"] == "c"
    assert log.ended
    assert log.change(status(pb.TASK_STATE_WORKING)) == []


def test_a_message_after_a_task_is_refused() -> None:
    log = fresh()
    log.change(pb.Task())
    with pytest.raises(InvalidAgentResponseError, match="status or artifact update"):
        log.change(pb.Message(message_id="r", role=pb.ROLE_AGENT, parts=[pb.Part(text="yo")]))


def test_a_message_completes_a_task_that_its_caller_already_holds() -> None:
    event, snapshot = submitted("t", "c", USER)
    log = TaskFold("t", "c", pb.Task.FromString(snapshot), 1, USER)
    [done] = log.change(pb.Message(message_id="r", role=pb.ROLE_AGENT, parts=[pb.Part(text="yo")]))
    assert done.state == pb.TASK_STATE_COMPLETED
    assert read_back([event, done]).status.message.message_id == "r"


def test_the_executors_own_task_does_not_replace_one_that_exists() -> None:
    log = fresh()
    log.change(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING)))
    assert log.change(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_SUBMITTED))) == []
    assert log.task.status.state == pb.TASK_STATE_WORKING


def test_the_executors_own_task_brings_its_news_to_one_that_we_showed_early() -> None:
    _, snapshot = submitted("t", "c", USER)
    log = TaskFold("t", "c", pb.Task.FromString(snapshot), 1, USER)
    whole = pb.Task(
        status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED),
        artifacts=[pb.Artifact(artifact_id="a", parts=[pb.Part(text="x")])],
    )
    changes = log.change(whole)
    assert [next(iter(orjson.loads(c.body))) for c in changes] == ["artifactUpdate", "statusUpdate"]
    assert log.ended


@pytest.mark.parametrize(
    "event", [pb.Task(id="other"), pb.TaskStatusUpdateEvent(task_id="other"), pb.Task(context_id="z")]
)
def test_events_of_another_task_are_refused(event: object) -> None:
    log = fresh()
    if not isinstance(event, pb.Task):
        log.change(pb.Task())
    with pytest.raises(InvalidAgentResponseError):
        log.change(event)


def test_a_chunk_for_an_artifact_that_does_not_exist_is_refused_and_leaves_no_gap() -> None:
    log = fresh()
    log.change(pb.Task())
    with pytest.raises(InvalidAgentResponseError):
        log.change(chunk("nope", "x", append=True))
    [next_change] = log.change(status(pb.TASK_STATE_WORKING))
    assert orjson.loads(next_change.body)["statusUpdate"]["metadata"][GENERATION] == 2


def test_a_status_message_moves_into_the_history_and_a_follow_up_comes_after_it() -> None:
    log = fresh()
    changes = [c for e in (pb.Task(), status(pb.TASK_STATE_INPUT_REQUIRED, "which?")) for c in log.change(e)]
    answer = pb.Message(message_id="m2", role=pb.ROLE_USER, parts=[pb.Part(text="that")])
    second = TaskFold("t", "c", read_back(changes), log.generation, answer)
    changes += second.change(status(pb.TASK_STATE_COMPLETED))
    assert [m.message_id for m in read_back(changes).history] == ["m1", "which?", "m2"]


def test_snapshots_come_ever_more_rarely_so_that_a_long_log_stays_linear() -> None:
    log = fresh()
    log.change(pb.Task())
    written = 0
    for n in range(4000):
        log.change(chunk("a", "x" * 20, append=n > 0))
        written += len(log.snapshot_due() or b"")
    assert written < 6 * len(log.task.SerializeToString())


@pytest.mark.parametrize(("levels", "taken"), [(30, True), (31, False)])
def test_data_too_deep_to_be_read_back_is_refused(levels: int, taken: bool) -> None:
    value: object = "x"
    for n in range(levels):
        value = {"k": value} if n % 2 else [value]
    part = ParseDict({"data": value}, pb.Part())
    log = fresh()
    log.change(pb.Task())
    event = pb.TaskArtifactUpdateEvent(artifact=pb.Artifact(artifact_id="a", parts=[part]))
    if not taken:
        with pytest.raises(InvalidAgentResponseError, match="nested"):
            log.change(event)
        return
    log.change(event)
    assert pb.Task.FromString(log.snapshot_due(force=True)).artifacts[0].parts[0] == part


events = st.lists(
    st.one_of(
        st.builds(
            chunk,
            st.sampled_from(["a", "b"]),
            st.text(max_size=5),
            st.booleans(),
            name=st.sampled_from(["", "n"]),
            description=st.sampled_from(["", "d"]),
        ),
        st.builds(status, st.sampled_from([1, 2, 6, 8]), st.sampled_from(["", "hm"])),
    ),
    max_size=12,
)


@given(events, st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_readers_fold_the_log_into_the_writers_task_from_any_snapshot(said: list, cut: int) -> None:
    log = fresh()
    changes = list(log.change(pb.Task()))
    snapshot, at = log.snapshot_due(force=True), 1
    for n, event in enumerate(said):
        try:
            changes += log.change(event)
        except InvalidAgentResponseError:
            continue
        if n == cut:
            snapshot, at = log.snapshot_due(force=True), log.generation
    tail = [(c.body, c.message) for c in changes[at:]]
    stored = StoredTask("t", "c", "o", 2, log.generation, True, False, "1", snapshot, at, tail)
    log.snapshot_due(force=True)
    assert MessageToDict(fold(stored)) == MessageToDict(log.task)
    for change in changes:
        ParseDict(orjson.loads(change.body), pb.StreamResponse())
