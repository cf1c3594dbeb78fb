"""Numbers that executors report of their tasks, so that versions can be compared by them.

An executor puts them under `METRICS` into the metadata of any status update or Task, as
`await updater.update_status(state, metadata={METRICS: {"tokens": 512, "score": 0.93}})`; the last value of a name counts.
"""

import math
from collections.abc import Mapping

from a2a.types import a2a_pb2 as pb

METRICS = "parley.dev/metrics"
"""Metadata key of a mapping from names to numbers."""
MOST = 20
"""Metrics that a task may report at once; what is more is not kept."""
_LONGEST = 64
_NONE: Mapping[str, float] = {}


def measured(event: object) -> Mapping[str, float]:
    """The numbers that an event reports: names of at most 64 characters, finite values; empty of one without."""
    if not isinstance(event, pb.TaskStatusUpdateEvent | pb.Task) or not event.HasField("metadata"):
        return _NONE
    told = event.metadata.fields.get(METRICS)
    if told is None or told.WhichOneof("kind") != "struct_value":
        return _NONE
    kept = {
        name: value.number_value
        for name, value in told.struct_value.fields.items()
        if value.WhichOneof("kind") == "number_value"
        and math.isfinite(value.number_value)
        and 0 < len(name) <= _LONGEST
        and name.isprintable()
    }
    return dict(sorted(kept.items())[:MOST])
