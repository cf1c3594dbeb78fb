"""Other programs and an agent, over RocketMQ alone: a message goes in, its session's events come out."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events.event_queue import EventQueue
from a2a.types import a2a_pb2 as pb

from engines.ports import free_port
from engines.rocketmq import RocketMQ
from parley_core.errors import ConfigurationError, Unavailable
from parley_runtime.dispatch import Call
from parley_runtime.host import AgentHost
from parley_runtime.inbox import Inbox
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.consumer import Consumer
from parley_runtime.rocketmq.lite import LiteConsumer
from parley_runtime.rocketmq.messages import Outgoing, Received
from parley_runtime.rocketmq.producer import Producer
from parley_runtime.settings import HostSettings
from parley_runtime.store import TaskFilter

sys.path.insert(0, str(Path(__file__).parents[1]))
from engine_pairs import until

pytestmark = pytest.mark.cluster


class Echo(AgentExecutor):
    """Completes each task with what it was told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        artifact = pb.Artifact(artifact_id="a", parts=context.message.parts)
        await event_queue.enqueue_event(pb.Task(id=context.task_id, context_id=context.context_id))
        await event_queue.enqueue_event(pb.TaskArtifactUpdateEvent(artifact=artifact))
        done = pb.TaskStatus(state=pb.TASK_STATE_COMPLETED)
        await event_queue.enqueue_event(pb.TaskStatusUpdateEvent(status=done))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Nothing runs for long."""


class Program:
    """A program that has RocketMQ and nothing else."""

    def __init__(self, url: str, agent: str) -> None:
        self.agent = agent
        self.address = RocketAddress.parse(url)
        self.connection, self.admin = Connection(self.address), Admin(self.address)
        self.connection.open()
        self.producer = Producer(self.connection, deadline=5.0)
        self.group = f"program-{uuid.uuid4().hex[:8]}"
        self.lines: list[bytes] = []

    async def submit(self, body: bytes) -> None:
        await self.producer.send([Outgoing(names.inbox(self.agent), body)])

    async def listen(self, session: str) -> LiteConsumer:
        """Read a session's lite topic from its beginning."""
        await self.admin.make(groups=[Group(self.group, lite=names.events(self.agent))])
        consumer = LiteConsumer(self.connection, names.events(self.agent), self.group, deliver=self._deliver)
        consumer.open()
        consumer.subscribe(session, offset=0)
        return consumer

    def _deliver(self, messages: Sequence[Received]) -> None:
        for message in messages:
            head, *events = message.body.rstrip(b"\n").split(b"\n")
            assert len(orjson.loads(head)["events"]) == len(events)
            self.lines += events

    async def dead_letter(self) -> Received:
        dead = names.dead(self.agent)
        await self.admin.make(groups=[Group(dead)])
        consumer = Consumer(self.connection, dead, dead)
        consumer.open()
        await asyncio.wait_for(consumer.session.live.wait(), 20)
        try:
            deadline = time.monotonic() + 20
            while not (got := await consumer.receive(1, 30.0, 1.0)):
                assert time.monotonic() < deadline, "no dead letter came"
            await consumer.ack(got)
            return got[0]
        finally:
            await consumer.close()

    async def close(self) -> None:
        for topic in (names.inbox(self.agent), names.dead(self.agent), names.events(self.agent)):
            await self.admin.remove([topic])
        await self.admin.remove(groups=[self.group, names.inbox(self.agent)])
        await self.connection.close()


@pytest.fixture
def agent() -> str:
    return f"i{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def program(rocketmq: RocketMQ, agent: str) -> AsyncIterator[Program]:
    program = Program(rocketmq.url, agent)
    yield program
    await program.close()


def settings(tmp_path: Path, url: str, owner: str = "queue-writers") -> HostSettings:
    return HostSettings(
        listen=f"127.0.0.1:{free_port()}",
        store=f"sqlite:///{tmp_path}/h.db",
        bus=url,
        inbox=url,
        inbox_owner=owner,
    )


def card(agent: str) -> pb.AgentCard:
    return pb.AgentCard(
        name=agent, version="1.0.0", description="d", default_input_modes=["text/plain"],
        default_output_modes=["text/plain"], capabilities=pb.AgentCapabilities(streaming=True),
    )  # fmt: skip


@pytest.fixture
async def host(rocketmq: RocketMQ, agent: str, program: Program, tmp_path: Path) -> AsyncIterator[AgentHost]:
    host = AgentHost(card(agent), Echo(), settings(tmp_path, rocketmq.url))
    await host.start()
    assert host.inbox is not None
    await until(lambda: not host._slower(), within=40)
    yield host
    await host.drain()
    await host.close()


def message(text: str, context: str = "", **fields: object) -> bytes:
    made = {
        "messageId": uuid.uuid4().hex,
        "role": "ROLE_USER",
        "parts": [{"text": text}],
        "contextId": context,
    }
    return orjson.dumps({"message": {**made, **fields}})


async def tasks(host: AgentHost, owner: str = "queue-writers") -> int:
    return (await host.store.list_tasks(TaskFilter(owner))).total


async def test_a_message_goes_in_and_its_sessions_events_come_out(host: AgentHost, program: Program) -> None:
    session = f"session-{uuid.uuid4()}"
    await program.submit(message("hello", session))
    consumer = await program.listen(session)
    await until(lambda: any(b"TASK_STATE_COMPLETED" in line for line in program.lines), within=30)
    await consumer.close()
    events = [orjson.loads(line) for line in program.lines]
    assert [next(iter(event)) for event in events] == ["task", "artifactUpdate", "statusUpdate"]
    assert events[1]["artifactUpdate"]["artifact"]["parts"][0]["text"] == "hello"
    assert (await tasks(host), await tasks(host, "local")) == (1, 0)


async def test_the_example_in_the_manual_speaks_with_an_agent(
    host: AgentHost, program: Program, rocketmq: RocketMQ, agent: str
) -> None:
    example = Path(__file__).parents[3] / "examples" / "rocketmq_session.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(example), rocketmq.url, agent, "hello", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    numbers = [int(line.split()[0]) for line in out.splitlines()]
    assert numbers == [1, 2, 3]
    assert b"hello" in out
    assert b"TASK_STATE_COMPLETED" in out.splitlines()[-1]


async def test_the_same_message_twice_is_one_task(host: AgentHost, program: Program) -> None:
    body = message("hello")
    await program.submit(body)
    await program.submit(body)
    await program.submit(message("other"))
    deadline = time.monotonic() + 20
    while await tasks(host) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    assert await tasks(host) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no json", "JSON"),
        (b'{"message":{"role":"ROLE_USER","parts":[{"text":"x"}]}}', "message_id"),
        (message("x", taskId="no-such-task"), "no-such-task"),
    ],
)
async def test_what_cannot_be_taken_is_a_dead_letter_with_the_reason(
    host: AgentHost, program: Program, body: bytes, reason: str
) -> None:
    await program.submit(body)
    letter = await program.dead_letter()
    assert letter.body == body
    assert reason in letter.properties["reason"]
    assert await tasks(host) == 0


async def test_a_message_waits_while_the_agent_cannot_take_it(
    rocketmq: RocketMQ, agent: str, program: Program
) -> None:
    tried: list[str] = []

    async def flaky(params: pb.SendMessageRequest, _: object) -> None:
        """Fault injection: a store that is away at the first two tries."""
        tried.append(params.message.message_id)
        if len(tried) < 3:
            raise Unavailable("the store is away")

    inbox = Inbox(program.address, agent, "o", flaky)
    await inbox.open()
    await until(lambda: not inbox.status(), within=30)
    await program.submit(message("x", messageId="m1"))
    await until(lambda: len(tried) == 3, within=30)
    await asyncio.sleep(2.0)
    assert tried == ["m1"] * 3, "accepted, and acknowledged"
    await inbox.close()


def test_an_inbox_without_an_owner_is_refused(tmp_path: Path, agent: str) -> None:
    with pytest.raises(ConfigurationError, match="inbox-owner"):
        AgentHost(card(agent), Echo(), settings(tmp_path, "rocketmq://127.0.0.1:1", owner=""))


def test_a_call_from_the_inbox_is_its_owners() -> None:
    assert Call("queue-writers").context().user.user_name == "queue-writers"
