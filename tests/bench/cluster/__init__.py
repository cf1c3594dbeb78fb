"""The figures of the cluster profile, one file each: `measure(scale, postgres)` gives the rows."""

from collections.abc import Awaitable, Callable

from scale import Scale
from table import Row

from cluster import backlog, broker, lag, operators, sharing, subscribers, takeover, throughput, tokens
from cluster.postgres import Postgres

FIGURES: dict[str, Callable[[Scale, Postgres], Awaitable[list[Row]]]] = {
    "throughput": throughput.measure,
    "lag": lag.measure,
    "takeover": takeover.measure,
    "subscribers": subscribers.measure,
    "tokens": tokens.measure,
    "backlog": backlog.measure,
    "sharing": sharing.measure,
    "broker": broker.measure,
    "operators": operators.measure,
}
