"""Whether RocketMQ serves or its stand-in does: said once in the log at each turn, and always in the metrics."""

import logging
import time

from prometheus_client import Gauge

log = logging.getLogger(__name__)

AWAY = Gauge(
    "parley_rocketmq_away",
    "1 while RocketMQ does not serve and the store stands in for it",
    ["agent", "engine"],
)


class Presence:
    """Of one engine ("queue" or "bus") of one agent in this process. Begins as away, unsaid: it has just been opened."""

    def __init__(self, agent: str, engine: str) -> None:
        self.reason = "RocketMQ has not answered yet"
        """Why it is away; "" while it serves."""
        self._engine = engine
        self._gauge = AWAY.labels(agent, engine)
        self._gauge.set(1)
        self._said = False
        self._since = time.monotonic()

    @property
    def away(self) -> bool:
        return bool(self.reason)

    def leave(self, reason: str) -> None:
        """It does not serve."""
        if not self.reason:
            self._since = time.monotonic()
            self._said = False
        self.reason = reason
        self._gauge.set(1)
        if not self._said:
            self._said = True
            log.warning("the %s goes on without RocketMQ: %s", self._engine, reason)

    def back(self) -> None:
        """It serves (again)."""
        if self._said:
            seconds = time.monotonic() - self._since
            log.info("the %s is on RocketMQ again, after %.1f s", self._engine, seconds)
        self.reason, self._said = "", False
        self._gauge.set(0)
