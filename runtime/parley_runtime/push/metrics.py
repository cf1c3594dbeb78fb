"""Prometheus metrics of push notifications: never a URL, a task or an owner."""

from prometheus_client import Counter, Gauge, Histogram

PUSHES = Counter(
    "parley_push_attempts", "Attempts to deliver a push notification by what came of it", ["result"]
)
PENDING = Gauge("parley_push_pending", "Push notifications that are still to be delivered")
GIVEN_UP = Gauge("parley_push_given_up", "Push notifications that were given up and are still remembered")
OLDEST = Gauge("parley_push_oldest_seconds", "Age of the oldest push notification still to be delivered")
SECONDS = Histogram(
    "parley_push_attempt_seconds",
    "How long an attempt to deliver a push notification took",
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 5, 15),
)
