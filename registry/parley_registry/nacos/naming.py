"""Instances: registered for as long as this process lives, asked for, and subscribed to."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from parley_core.errors import ParleyError
from parley_registry.nacos.connection import NacosConnection
from parley_registry.nacos.keys import KeyWatch, KeyWatches
from parley_registry.nacos.wanted import Wanted

_RESYNC = 30.0
"""Seconds after which a subscription is asked again although nothing was pushed."""
_RESYNC_OWN = 300.0
"""… and after which own instances are registered again although nothing is known to be wrong."""
_PAGE = 1000
_LEAVING = 2.0


class Service(NamedTuple):
    """What instances are registered under."""

    namespace: str
    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One instance of a service: where it is, and what it says of itself. `healthy` also says that it is enabled."""

    host: str
    port: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    healthy: bool = True


Told = Callable[[tuple[Endpoint, ...]], None]


class Subscription:
    """Ends with `close`. `endpoints` is None until the server has told for the first time."""

    def __init__(self, naming: "Naming", service: Service, told: Told) -> None:
        self._naming = naming
        self.service = service
        self.told = told
        self.endpoints: tuple[Endpoint, ...] | None = None

    def close(self) -> None:
        """Tell no more."""
        self._naming._drop(self)


class Naming:
    """Nacos's naming service over one connection. `start` it, and `close` it before the connection.

    Calls raise RegistryUnavailable, NotAllowed and BadRequest.
    """

    def __init__(self, connection: NacosConnection) -> None:
        self._connection = connection
        self._own: dict[Service, dict[tuple[str, int], Endpoint]] = {}
        self._locks: dict[Service, asyncio.Lock] = {}
        self._subscribed: dict[Service, list[Subscription]] = {}
        self._seen: dict[Service, tuple[float, tuple[Endpoint, ...]]] = {}
        self._registrations = Wanted(
            connection, "instances", self._settle_own, lambda: list(self._own), resync=_RESYNC_OWN
        )
        self._subscriptions = Wanted(
            connection, "subscriptions", self._settle_subscription, self._all_subscribed, resync=_RESYNC
        )
        self._watches = KeyWatches(connection, "Naming", "serviceKey", _service_of)
        connection.on("NotifySubscriberRequest", self._pushed)
        connection.on_live(self._seen.clear)

    def start(self) -> None:
        """Begin to keep instances and subscriptions."""
        self._registrations.start()
        self._subscriptions.start()
        self._watches.start()

    async def close(self) -> None:
        """Take the own instances away, if the server answers soon, and stop."""
        await self._registrations.close()
        own = [service for service, mine in self._own.items() if mine]
        self._own.clear()
        if own and self._connection.live:
            with contextlib.suppress(ParleyError, TimeoutError):
                async with asyncio.timeout(_LEAVING):
                    await self._settle_own(own)
        await self._subscriptions.close()
        await self._watches.close()

    # -- own instances

    async def register(self, service: Service, endpoint: Endpoint) -> None:
        """Register an ephemeral instance and keep it registered, also over new connections, until `deregister`.

        When it raises, the instance is not kept.
        """
        mine = self._own.setdefault(service, {})
        before = mine.get((endpoint.host, endpoint.port))
        mine[(endpoint.host, endpoint.port)] = endpoint
        try:
            await self._settle_own([service])
        except BaseException:
            if before is None:
                mine.pop((endpoint.host, endpoint.port), None)
            else:
                mine[(endpoint.host, endpoint.port)] = before
            self._registrations.tell(service)
            raise

    async def deregister(self, service: Service, host: str, port: int) -> None:
        """Take an own instance away. When it raises, that is tried on until the connection is closed."""
        if self._own.get(service, {}).pop((host, port), None) is not None:
            self._registrations.tell(service)
            await self._settle_own([service])

    async def _settle_own(self, services: list[Service]) -> None:
        for service in services:
            async with self._locks.setdefault(service, asyncio.Lock()):
                mine = list(self._own.get(service, {}).values())
                body = _body(service)
                if mine:
                    body |= {"type": "batchRegisterInstance", "instances": [_instance(one) for one in mine]}
                    await self._connection.call("BatchInstanceRequest", body)
                else:
                    body |= {"type": "deregisterInstance", "instance": _instance(Endpoint("127.0.0.1", 1))}
                    await self._connection.call("InstanceRequest", body)
                    if not self._own.get(service):
                        self._own.pop(service, None)

    # -- what there is

    async def instances(self, service: Service) -> tuple[Endpoint, ...]:
        """The instances of a service, healthy or not, in no particular order; none when there is no such service."""
        body = _body(service) | {"cluster": "", "healthyOnly": False, "udpPort": 0}
        told = await self._connection.call("ServiceQueryRequest", body)
        return _endpoints(told["serviceInfo"])

    async def services(self, namespace: str, group: str) -> list[str]:
        """The names of the services of a group that have (or lately had) instances."""
        names: list[str] = []
        while True:
            page = {"pageNo": len(names) // _PAGE + 1, "pageSize": _PAGE}
            body = {"namespace": namespace, "groupName": group, "serviceName": "", "selector": ""} | page
            told = await self._connection.call("ServiceListRequest", body)
            found = list(told.get("serviceNames") or ())
            names += found
            if len(found) < _PAGE:
                return names

    def subscribe(self, service: Service, told: Told) -> Subscription:
        """Have `told` called with the instances of a service: at once when they are known, and when they change.

        While the server is away nothing is told; after it is back, what is different. `told` must not block.
        """
        subscription = Subscription(self, service, told)
        first = service not in self._subscribed
        self._subscribed.setdefault(service, []).append(subscription)
        if first:
            self._subscriptions.tell(service)
        elif service in self._seen:
            _tell(subscription, self._seen[service][1])
        return subscription

    def watch(self, namespace: str, group: str, told: Callable[[str, bool], None]) -> KeyWatch:
        """Have `told(name, exists)` called for each service of a group now, and when one comes or goes."""
        return self._watches.add(namespace, group, told)

    def _all_subscribed(self) -> list[Service]:
        return list(self._subscribed)

    def _drop(self, subscription: Subscription) -> None:
        others = self._subscribed.get(subscription.service, [])
        if subscription in others:
            others.remove(subscription)
            if not others:
                del self._subscribed[subscription.service]
                self._seen.pop(subscription.service, None)
                self._subscriptions.tell(subscription.service)

    async def _settle_subscription(self, services: list[Service]) -> None:
        for service in services:
            wanted = service in self._subscribed
            body = _body(service) | {"subscribe": wanted, "clusters": ""}
            told = await self._connection.call("SubscribeServiceRequest", body)
            if wanted and told.get("serviceInfo"):
                self._take(service, told["serviceInfo"])

    def _pushed(self, body: dict[str, Any]) -> None:
        info = body.get("serviceInfo") or {}
        group, name = str(info.get("groupName") or ""), str(info.get("name") or "")
        group, name = name.split("@@", 1) if "@@" in name else (group, name)
        named = [one for one in self._subscribed if (one.group, one.name) == (group, name)]
        if len(named) == 1:
            self._take(named[0], info)
        else:  # a push does not say of which namespace it is
            self._subscriptions.tell(*named)

    def _take(self, service: Service, info: Mapping[str, Any]) -> None:
        at, endpoints = float(info.get("lastRefTime") or 0), _endpoints(info)
        if at < self._seen.get(service, (0.0, ()))[0]:
            return  # an answer that a push has overtaken
        self._seen[service] = (at, endpoints)
        for subscription in list(self._subscribed.get(service, ())):
            _tell(subscription, endpoints)


def _tell(subscription: Subscription, endpoints: tuple[Endpoint, ...]) -> None:
    if subscription.endpoints != endpoints:
        subscription.endpoints = endpoints
        subscription.told(endpoints)


def _body(service: Service) -> dict[str, Any]:
    return {"namespace": service.namespace, "serviceName": service.name, "groupName": service.group}


def _instance(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "ip": endpoint.host,
        "port": endpoint.port,
        "weight": 1.0,
        "healthy": True,
        "enabled": True,
        "ephemeral": True,
        "clusterName": "DEFAULT",
        "metadata": dict(endpoint.metadata),
    }


def _endpoints(info: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    return tuple(
        sorted(
            (
                Endpoint(
                    str(one["ip"]),
                    int(one["port"]),
                    {str(k): str(v) for k, v in (one.get("metadata") or {}).items()},
                    bool(one.get("healthy", True)) and bool(one.get("enabled", True)),
                )
                for one in info.get("hosts") or ()
            ),
            key=lambda one: (one.host, one.port),
        )
    )


def _service_of(key: str) -> tuple[str, str, str]:
    namespace, group, name = key.split("@@", 2)
    return namespace, group, name
