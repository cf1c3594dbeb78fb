"""Prometheus metrics of a host. Labels are few and bounded: never a task, an owner or a URL."""

from a2a.types import a2a_pb2 as pb
from prometheus_client import Counter, Gauge, Histogram

from parley_runtime.store import ERROR, MESSAGE

REQUESTS = Counter(
    "parley_requests", "A2A requests by binding, operation and outcome", ["binding", "operation", "outcome"]
)
TASKS = Counter(
    "parley_tasks", "Ended executions by agent, version and end state", ["agent", "version", "state"]
)
TAKEOVERS = Counter("parley_lease_takeovers", "Executions begun again after their worker was lost", ["agent"])
QUEUE_DEPTH = Gauge("parley_queue_depth", "Work that nobody has taken", ["agent"])
QUEUE_AGE = Gauge("parley_queue_oldest_seconds", "Age of the oldest work that nobody has taken", ["agent"])
RUNNING = Gauge("parley_tasks_running", "Work under a lease", ["agent"])
STORE_UP = Gauge(
    "parley_store_up", "1 while the store answers; what it alone knows is NaN meanwhile", ["agent"]
)
WAITING = Gauge("parley_queue_waiting", "Work that nobody has taken, by priority", ["agent", "priority"])
QUOTA = Gauge("parley_quota_left", "Executions that the quota allows now (NaN: there is no quota)", ["agent"])
UNHOSTED = Gauge(
    "parley_queue_unhosted", "Work that waits for a version that no worker hosts", ["agent", "version"]
)
REFUSED = Counter("parley_messages_refused", "Messages refused because the backlog was full", ["agent"])
EXPIRED = Counter("parley_tasks_expired", "Work whose deadline passed while it waited", ["agent"])
DEGRADED = Gauge(
    "parley_engine_degraded", "1 while an engine is away and the store does its work, slower", ["engine"]
)
STREAM_LAG = Histogram(
    "parley_stream_lag_seconds",
    "From an event's commit to its being handed to a stream",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)


def end_name(state: int) -> str:
    """How a task ended, by the store's number of it: as `state_name`, and "error" for a protocol error."""
    return {MESSAGE: "message", ERROR: "error"}.get(state) or state_name(state)


def state_name(state: int | None) -> str:
    """A task state as a label: completed, failed …; "message" for an exchange without a task."""
    if state is None:
        return "message"
    return pb.TaskState.Name(state).removeprefix("TASK_STATE_").lower()
