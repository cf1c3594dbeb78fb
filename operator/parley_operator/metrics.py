"""Prometheus metrics of the operator. Labels are few and bounded: never an agent, but where there is a condition of it."""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter(
    "parley_operator_reconciles", "Agents and teams looked at, by kind and outcome", ["kind", "outcome"]
)
RECONCILE_SECONDS = Histogram(
    "parley_operator_reconcile_seconds",
    "From taking a key to having done all that its plan says",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
QUEUE_DEPTH = Gauge("parley_operator_queue_depth", "Keys that wait for a worker")
DEGRADED = Gauge("parley_operator_degraded", "Agents whose last look ended in an unexpected error")
LEADER = Gauge("parley_operator_leader", "1 while this process leads")
API_CALLS = Counter(
    "parley_operator_api_calls", "Requests to the API server, by method and status", ["method", "status"]
)
API_THROTTLED = Counter("parley_operator_api_throttled", "Answers of the API server that told to wait")
WATCHES = Counter("parley_operator_watch_starts", "Lists and watches begun, by kind and why", ["kind", "why"])
CACHED = Gauge("parley_operator_cached_objects", "Objects held in memory, by kind", ["kind"])
WRITES = Counter("parley_operator_writes", "Objects written, by kind and what was done", ["kind", "done"])
EVENTS_LOST = Counter(
    "parley_operator_events_lost", "Events that were not told, as there were too many or the API refused"
)
REGISTRY_UP = Gauge("parley_operator_registry_up", "1 while the registry answers")
