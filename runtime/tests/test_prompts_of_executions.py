"""Prompts as executors get them: without a registry, and what is noted of them on a task."""

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from parley_core.errors import ConfigurationError
from parley_runtime.prompts import PROMPTS, HostPrompts, Using, current_prompts, prompt


async def test_outside_a_host_a_prompt_is_its_default() -> None:
    found = await prompt("review", default="Review {{language}}.")
    assert (found.version, found.render(language="Go")) == ("", "Review Go.")


async def test_without_a_registry_and_a_default_it_is_said_what_to_do() -> None:
    current_prompts.set(Using(HostPrompts("coder", "1.0.0")))
    with pytest.raises(ConfigurationError, match="--registry"):
        await prompt("review")
    assert (await prompt("review", default="x")).template == "x"


def status(**metadata: object) -> pb.TaskStatusUpdateEvent:
    event = pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING))
    event.metadata.update(metadata)
    return event


async def test_what_was_used_is_noted_with_the_next_event_that_can_say_so() -> None:
    using = Using(HostPrompts("coder", "1.0.0"))
    before = status()
    assert using.noted(before, None) is before
    await using.get("review", "production", "x")
    chunk = pb.TaskArtifactUpdateEvent(artifact=pb.Artifact(artifact_id="a"))
    assert using.noted(chunk, None) is chunk
    own = status(mine=1)
    noted = using.noted(own, None)
    assert MessageToDict(noted.metadata) == {"mine": 1.0, PROMPTS: {"review": "default"}}
    assert MessageToDict(own.metadata) == {"mine": 1.0}
    again = status()
    assert using.noted(again, None) is again
    await using.get("plan", "production", "y")
    answer = using.noted(pb.Message(message_id="m"), None)
    assert MessageToDict(answer.metadata)[PROMPTS] == {"review": "default", "plan": "default"}


async def test_what_earlier_turns_of_a_task_used_stays_noted() -> None:
    task = pb.Task(id="t")
    task.metadata.update({PROMPTS: {"review": "1.2.0", "plan": "1.0.0"}})
    using = Using(HostPrompts("coder", "1.0.0"))
    await using.get("review", "production", "x")
    noted = using.noted(status(), task)
    assert MessageToDict(noted.metadata)[PROMPTS] == {"review": "default", "plan": "1.0.0"}
