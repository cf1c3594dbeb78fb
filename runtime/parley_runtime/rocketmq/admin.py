"""Making and removing topics and consumer groups, on every broker of the cluster."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import orjson

from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.errors import RocketAway, RocketError
from parley_runtime.rocketmq.remoting import call

_TOPICS, _GROUPS, _ALL_GROUPS = 18, 225, 201
_DELETE_TOPIC, _DELETE_TOPIC_AT_NAMESRV, _DELETE_GROUP = 215, 216, 207
_CLUSTER = 106
_LITE_CLIENT = 200077
_BARE_KEY = re.compile(rb"([{,])(\d+):\"")
_NO_END = 1_000_000
"""Deliveries of a message (the largest integer overflows in the proxy, which then gives nothing to anybody)."""

Kind = Literal["NORMAL", "FIFO", "PRIORITY", "LITE"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to make; a PRIORITY topic has one queue for each priority that it tells apart. `ttl`: of a LITE parent, the minutes after which a lite topic that gets nothing more goes."""

    name: str
    kind: Kind
    queues: int = 4
    ttl: int = 0

    def attributes(self) -> dict[str, str]:
        made: dict[str, str] = {"+message.type": self.kind}
        if self.kind == "LITE":
            made["+lite.topic.expiration"] = str(self.ttl)
        return made


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group to make. `lite`: the parent topic whose lite topics it reads. Messages are delivered again
    without end (what cannot be taken is for the consumer to decide)."""

    name: str
    lite: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def all_attributes(self) -> dict[str, str]:
        if not self.lite:
            return dict(self.attributes)
        # with the broker's own bounds a client would hear of a few thousand lite topics only every ten seconds
        return {
            "+lite.bind.topic": self.lite,
            "+lite.sub.client.quota": "1000000",
            "+lite.sub.client.max.event.cnt": "100000",
            **self.attributes,
        }


class Admin:
    """Finds the brokers through the name server at each call; holds no connection."""

    def __init__(self, address: RocketAddress) -> None:
        self._namesrv = address.namesrv
        self._call = partial(call, tls=address.remoting_tls(), credentials=address.credentials)

    async def make(self, topics: Sequence[Topic] = (), groups: Sequence[Group] = ()) -> None:
        """Make these, or bring those that exist to this form. Raises RocketAway, RocketError."""
        configs = [
            {
                "topicName": topic.name,
                "readQueueNums": topic.queues,
                "writeQueueNums": topic.queues,
                "perm": 6,
                "topicFilterType": "SINGLE_TAG",
                "topicSysFlag": 0,
                "order": False,
                "attributes": topic.attributes(),
            }
            for topic in topics
        ]
        members = [
            {
                "groupName": group.name,
                "consumeEnable": True,
                "consumeFromMinEnable": True,
                "consumeBroadcastEnable": True,
                "consumeMessageOrderly": bool(group.lite),
                "retryQueueNums": 1,
                "retryMaxTimes": _NO_END,
                "brokerId": 0,
                "whichBrokerWhenConsumeSlowly": 1,
                "notifyConsumerIdsChangedEnable": True,
                "groupSysFlag": 0,
                "consumeTimeoutMinute": 15,
                "attributes": group.all_attributes(),
            }
            for group in groups
        ]
        for broker in await self.brokers():
            if configs:
                await self._call(broker, _TOPICS, {}, orjson.dumps({"topicConfigList": configs}))
            if members:
                await self._call(broker, _GROUPS, {}, orjson.dumps({"groupConfigList": members}))

    async def remove(self, topics: Sequence[str] = (), groups: Sequence[str] = ()) -> None:
        """Remove these; what is not there is as good as removed. Raises RocketAway, RocketError."""
        for broker in await self.brokers():
            for name in groups:
                await self._call(broker, _DELETE_GROUP, {"groupName": name, "cleanOffset": "true"})
            for name in topics:
                await self._call(broker, _DELETE_TOPIC, {"topic": name})
        for name in topics:
            await self._call(self._namesrv, _DELETE_TOPIC_AT_NAMESRV, {"topic": name})

    async def groups(self) -> set[str]:
        """All consumer groups. Raises RocketAway, RocketError."""
        found: set[str] = set()
        for broker in await self.brokers():
            table = orjson.loads(await self._call(broker, _ALL_GROUPS))["subscriptionGroupTable"]
            found.update(table)
        return found

    async def lite_seen(self, parent: str, group: str) -> float:
        """When the only client of a lite group, named as the group, last received something: seconds since the epoch
        by the broker's clock; 0: no broker knows it. (Asking for a group that is not there may make it.) Raises
        RocketAway, RocketError."""
        seen = 0.0
        for broker in await self.brokers():
            fields = {"parentTopic": parent, "group": group, "clientId": group, "maxCount": 1}
            try:
                answer = orjson.loads(await self._call(broker, _LITE_CLIENT, fields))
            except RocketError:
                continue  # a broker that does not know the group
            seen = max(seen, answer["lastAccessTime"] / 1000)
        return seen

    async def brokers(self) -> list[tuple[str, int]]:
        """The addresses of the brokers that can be written to. Raises RocketAway when none is known."""
        raw = await self._call(self._namesrv, _CLUSTER, deadline=2.0)
        table = orjson.loads(_BARE_KEY.sub(rb'\1"\2":"', raw))[
            "brokerAddrTable"
        ]  # its JSON has numbers as keys
        found = [data["brokerAddrs"]["0"] for data in table.values() if "0" in data["brokerAddrs"]]
        if not found:
            raise RocketAway("the RocketMQ name server knows of no broker")
        return [(host, int(port)) for host, _, port in (address.rpartition(":") for address in found)]
