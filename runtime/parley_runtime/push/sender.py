"""Delivers what is in the outbox: a task of the host's own, never in the way of a stream."""

import asyncio
import contextlib
import logging
import math
import time

import httpx
from a2a.types import a2a_pb2 as pb

from parley_core.errors import Unavailable
from parley_core.guardedhttp import ResponseTooLarge, guarded_client
from parley_core.telemetry import TraceContext, parse_traceparent, span
from parley_core.urlguard import UrlGuard, UrlRefused, UrlUnresolved
from parley_runtime.push import metrics
from parley_runtime.push.hosts import Hosts
from parley_runtime.push.outbox import Delivery, Outbox
from parley_runtime.push.policy import Decision, Outcome, PushPolicy, decide

log = logging.getLogger(__name__)

_IN_A_ROW = 32
_LOOK_OVER = 15.0
_OVERFLOW = 0.1
"""Seconds between calls to others for help."""


class Sender:
    """Sends the notifications of one outbox, together with whatever other senders are on it.

    `name` must be new for each start of a process. The owner's TaskGroup runs `run`; `wake` says that there may
    be something new (a slow poll stands behind it).
    """

    def __init__(self, outbox: Outbox, guard: UrlGuard, name: str, policy: PushPolicy | None = None) -> None:
        self._outbox = outbox
        self._guard = guard
        self._name = name
        self._policy = policy or PushPolicy()
        policy = self._policy
        self._hosts = Hosts(policy.at_once_per_host, policy.at_once_unproven, policy.at_once_slow)
        self._under_way = 0
        self._new = False
        self._overflowed = 0.0
        self._calling: asyncio.TimerHandle | None = None
        self._interrupted: list[Delivery] = []
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox now: this process has written something."""
        self._new = True
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled; what is then under way is put back and sent again by the next sender.

        An error that is neither the network's nor the store's ends it, loudly.
        """
        self._outbox.attend(self._wake.set)
        try:
            async with (
                guarded_client(self._guard, seconds=self._policy.attempt) as client,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._keep(), name="push-keep")
                while True:
                    self._wake.clear()
                    if not await self._start(client, group):
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(self._policy.poll):
                                await self._wake.wait()
        finally:
            if self._calling is not None:
                self._calling.cancel()
            for delivery in self._interrupted:
                with contextlib.suppress(Unavailable):
                    await self._outbox.release(delivery, self._name)

    async def _start(self, client: httpx.AsyncClient, group: asyncio.TaskGroup) -> bool:
        """Begin deliveries as there is room; False when there is nothing to do before the next wake or poll."""
        room = self._policy.at_once - self._under_way
        if room <= 0:
            self._overflow()
            return False
        leasing = asyncio.ensure_future(self._outbox.lease(self._name, room, self._policy.lease, self._hosts))
        try:
            taken = await asyncio.shield(leasing)
        except Unavailable as error:
            log.warning("cannot look for push notifications: %s", error)
            return False
        except asyncio.CancelledError:
            with contextlib.suppress(Unavailable):
                self._interrupted.extend(await leasing)
            raise
        self._under_way += len(taken)
        if len(taken) == room:
            self._overflow()
        elif not taken:
            self._new = False
        for delivery in taken:
            group.create_task(self._deliver(client, delivery), name=f"push:{delivery.task_id}")
        return bool(taken)

    def _overflow(self) -> None:
        """Call others to what this process has written and has no room for, now or when it last did so long enough ago."""
        if self._new and self._calling is None:
            self._new = False
            wait = max(0.0, self._overflowed + _OVERFLOW - time.monotonic())
            self._calling = asyncio.get_running_loop().call_later(wait, self._call)

    def _call(self) -> None:
        self._calling = None
        self._overflowed = time.monotonic()
        self._outbox.overflow()

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        """Deliver one notification, and then those behind it, up to a number, while all goes well and quickly."""
        url = delivery.config.url
        try:
            for left in range(_IN_A_ROW, 0, -1):
                begun = time.monotonic()
                outcome = await self._attempt(client, delivery)
                took = time.monotonic() - begun
                self._hosts.answered(url, took, well=outcome.status > 0 or outcome.final)
                decision = decide(outcome, delivery.attempts, delivery.age + took, time.time(), self._policy)
                more = left > 1 and self._hosts.is_quick(url)
                following = await self._settle(delivery, decision, more=more)
                if following is None:
                    break
                delivery = following
                if delivery.config.url != url:  # set anew meanwhile; its host has not been asked for a place
                    await self._outbox.release(delivery, self._name)
                    break
        except asyncio.CancelledError:
            self._interrupted.append(delivery)
            raise
        except Unavailable as error:
            log.warning("cannot settle a push notification, it will be sent again: %s", error)
        finally:
            self._hosts.leave(url)
            self._under_way -= 1
            self._wake.set()

    async def _attempt(self, client: httpx.AsyncClient, delivery: Delivery) -> Outcome:
        config = delivery.config
        with span("parley.push", parse_traceparent(delivery.traceparent)) as here:
            try:
                with metrics.SECONDS.time():
                    async with (
                        asyncio.timeout(self._policy.attempt),
                        client.stream(
                            "POST", config.url, content=delivery.body, headers=headers(delivery, here)
                        ) as answer,
                    ):
                        outcome = Outcome(
                            answer.status_code, retry_after=answer.headers.get("retry-after", "")
                        )
                        await _drain(answer)
                        return outcome
            except UrlUnresolved as refused:
                return Outcome(reason=str(refused))
            except UrlRefused as refused:
                return Outcome(reason=str(refused), final=True)
            except (TimeoutError, httpx.TimeoutException):
                return Outcome(reason=f"no answer within {self._policy.attempt:g} s")
            except httpx.HTTPError as error:
                return Outcome(reason=f"no connection or a broken one ({type(error).__name__})")
            except Exception as error:  # what a receiver makes of its answer must not end the host
                log.exception("delivering a push notification of task %s failed oddly", delivery.task_id)
                return Outcome(reason=f"an answer that cannot be read ({type(error).__name__})")

    async def _settle(self, delivery: Delivery, decision: Decision, *, more: bool) -> Delivery | None:
        metrics.PUSHES.labels(decision.kind).inc()
        if decision.kind == "delivered":
            then = self._policy.lease if more else 0.0
            return await self._outbox.delivered(delivery, self._name, then)
        level = logging.DEBUG if decision.kind == "retry" else logging.WARNING
        log.log(
            level,
            "push notification %d of task %s to config %s: %s (%s)",
            delivery.generation,
            delivery.task_id,
            delivery.config_id,
            decision.kind,
            decision.reason,
        )
        if decision.kind == "retry":
            await self._outbox.retry(delivery, self._name, decision.pause, decision.reason)
        elif decision.kind == "stop":
            await self._outbox.stop(delivery, self._name, decision.reason)
        else:
            older = self._policy.give_up if decision.old else math.inf
            await self._outbox.give_up(delivery, self._name, decision.reason, older)
        return None

    async def _keep(self) -> None:
        """Measure the outbox and forget old failures, now and then."""
        while True:
            begun = time.monotonic()
            try:
                state = await self._outbox.state()
                metrics.PENDING.set(state.pending)
                metrics.OLDEST.set(state.oldest)
                metrics.GIVEN_UP.set(state.given_up)
                await self._outbox.forget(self._policy.remember_failures)
            except Unavailable as error:
                log.warning("cannot look over the push outbox: %s", error)
            # Counting takes longer the more there is: never more than a hundredth of the time goes into it.
            await asyncio.sleep(max(_LOOK_OVER, 100 * (time.monotonic() - begun)))


def headers(delivery: Delivery, trace: TraceContext) -> dict[str, str]:
    """The request headers of a notification (4.3.3): its credentials, its place in the trace, and an id that is the
    same each time it is sent."""
    config: pb.TaskPushNotificationConfig = delivery.config
    found = {
        "Content-Type": "application/a2a+json",
        "A2A-Version": "1.0",
        "Idempotency-Key": f"{delivery.task_id}/{delivery.generation}",
        "User-Agent": "parley",
        "traceparent": trace.traceparent,
    }
    if config.token:
        found["X-A2A-Notification-Token"] = config.token
    if config.authentication.scheme and config.authentication.credentials:
        found["Authorization"] = f"{config.authentication.scheme} {config.authentication.credentials}"
    return found


async def _drain(answer: httpx.Response) -> None:
    """Read a short answer to its end, so that its connection can be used again; leave a long one."""
    with contextlib.suppress(ResponseTooLarge, httpx.HTTPError):
        async for _ in answer.aiter_raw():
            continue
