"""The client against a real RocketMQ that speaks TLS alone and lets nobody in who does not sign (ACL 2.0)."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import orjson
import pytest

from engines.rocketmq import RocketMQ
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group, Topic
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.consumer import Consumer
from parley_runtime.rocketmq.credentials import Credentials
from parley_runtime.rocketmq.errors import NotAllowed, RocketAway
from parley_runtime.rocketmq.lite import LiteConsumer
from parley_runtime.rocketmq.messages import Outgoing, Received
from parley_runtime.rocketmq.producer import Producer
from parley_runtime.rocketmq.remoting import call

pytestmark = pytest.mark.cluster

WORK, LITE, FRONT = "parley-work-a", "parley-events-a", "parley-front-a-1"
CREATE_USER, CREATE_ACL = 3001, 3006
AGENT = Credentials("agent", "of its own")
RIGHTS = {"Topic:parley-*": ["Pub", "Sub", "Delete"], "Group:parley-*": ["Sub", "Delete"]}
"""What docs/rocketmq.md says an agent's user needs."""


@pytest.fixture(scope="module")
def server() -> Iterator[RocketMQ]:
    with RocketMQ(short_lived=True, secure=True) as server:
        yield server


@pytest.fixture
def address(server: RocketMQ) -> RocketAddress:
    return RocketAddress.parse(server.url)


@asynccontextmanager
async def connected(address: RocketAddress) -> AsyncIterator[Connection]:
    connection = Connection(address)
    connection.open()
    yield connection
    await connection.close()


async def use_all(address: RocketAddress) -> None:
    """Make what an agent needs, send and receive work and events, and remove it."""
    admin = Admin(address)
    await admin.make(
        [Topic(WORK, "PRIORITY", 8), Topic(LITE, "LITE", 1, 30)], [Group(WORK), Group(FRONT, lite=LITE)]
    )
    heard: asyncio.Queue[Received] = asyncio.Queue()
    async with connected(address) as connection:
        producer = Producer(connection, deadline=5.0)
        consumer = Consumer(connection, WORK, WORK)
        lite = LiteConsumer(
            connection,
            LITE,
            FRONT,
            deliver=lambda messages: [heard.put_nowait(m) for m in messages],  # type: ignore[func-returns-value]
        )
        consumer.open()
        lite.open()
        await producer.send([Outgoing(WORK, b"one", priority=3)])
        await asyncio.wait_for(consumer.session.live.wait(), 20)
        async with asyncio.timeout(20):
            while not (got := await consumer.receive(1, 5.0, 1.0)):
                pass
        assert got[0].body == b"one"
        assert await consumer.extend(got[0], 5.0)
        assert await consumer.ack(got) == 0
        lite.subscribe("session", 0)
        await asyncio.wait_for(lite.session.live.wait(), 20)
        await producer.send([Outgoing(LITE, b"event", lite="session")])
        assert (await asyncio.wait_for(heard.get(), 20)).body == b"event"
        await lite.close()
        await consumer.close()
    await admin.lite_seen(LITE, FRONT)
    assert {WORK, FRONT} <= await admin.groups()
    await admin.remove([WORK, LITE], [WORK, FRONT])


async def test_all_that_parley_does_is_done_over_tls_with_a_signature(address: RocketAddress) -> None:
    await use_all(address)


async def test_a_user_needs_no_more_rights_than_those_that_the_page_lists(address: RocketAddress) -> None:
    [broker] = await Admin(address).brokers()
    user = {"username": "agent", "password": AGENT.secret_key, "userType": "Normal", "userStatus": "enable"}
    entries = [
        {"resource": name, "actions": actions, "decision": "Allow"} for name, actions in RIGHTS.items()
    ]
    acl = {"subject": "User:agent", "policies": [{"policyType": "Custom", "entries": entries}]}
    how = {"tls": address.remoting_tls(), "credentials": address.credentials}
    await call(broker, CREATE_USER, {"username": "agent"}, orjson.dumps(user), **how)  # type: ignore[arg-type]
    await call(broker, CREATE_ACL, {"subject": "User:agent"}, orjson.dumps(acl), **how)  # type: ignore[arg-type]
    theirs = dataclasses.replace(address, credentials=AGENT)
    await use_all(theirs)
    await Admin(address).make([Topic("of-others", "NORMAL")])
    async with connected(theirs) as connection:
        with pytest.raises(NotAllowed, match="what the user may do"):
            await Producer(connection, deadline=5.0).send([Outgoing("of-others", b"x")])


@pytest.mark.parametrize(
    "credentials",
    [Credentials("parley", "wrong"), Credentials("nobody", "x"), None],
    ids=["secret", "user", "none"],
)
async def test_who_does_not_sign_well_is_told_so_and_what_to_set(
    address: RocketAddress, credentials: Credentials | None
) -> None:
    stranger = dataclasses.replace(address, credentials=credentials)
    with pytest.raises(NotAllowed, match="PARLEY_ROCKETMQ_ACCESS_KEY"):
        await Admin(stranger).make([Topic(WORK, "PRIORITY", 8)])
    async with connected(stranger) as connection:
        with pytest.raises(NotAllowed, match="PARLEY_ROCKETMQ_ACCESS_KEY") as refused:
            await Producer(connection, deadline=5.0).send([Outgoing(WORK, b"x")])
    assert "wrong" not in str(refused.value)


async def test_a_certificate_of_an_unknown_authority_is_not_spoken_to(address: RocketAddress) -> None:
    trusting = dataclasses.replace(address, ca=None)
    with pytest.raises(RocketAway, match=r"certificate.*ca="):
        await Admin(trusting).groups()
    async with connected(trusting) as connection:
        with pytest.raises(RocketAway, match=r"certificate.*ca="):
            await Producer(connection, deadline=5.0).reach(WORK)


async def test_who_speaks_plain_text_is_told_of_tls(address: RocketAddress) -> None:
    with pytest.raises(RocketAway, match="rocketmqs://"):
        await Admin(dataclasses.replace(address, tls=False)).groups()
