"""What a host serves besides the protocol: health, readiness, metrics, and how a task went."""

import base64
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parley_core.errors import Unavailable
from parley_registry.client import figures_json
from parley_runtime import metrics
from parley_runtime.push.outbox import Failure
from parley_runtime.store import Store, TaskTrace
from parley_runtime.task import fold

_HOUR, _LONGEST = 3600.0, 30 * 86400.0


class Pages:
    """Handlers over a store. `undelivered` gives a task's notifications that did not arrive; `not_ready` says why the
    host should get no new calls, or ""; `degraded` what is slower than it should be, by engine."""

    def __init__(
        self,
        store: Store,
        undelivered: Callable[[str], Awaitable[Sequence[Failure]]],
        not_ready: Callable[[], str],
        degraded: Callable[[], Mapping[str, str]],
    ) -> None:
        self._store = store
        self._undelivered = undelivered
        self._not_ready = not_ready
        self._degraded = degraded
        self.owned = [
            Route("/parley/v1/tasks/{id}/trace", self.trace),
            Route("/parley/v1/versions", self.versions),
        ]

    async def healthz(self, request: Request) -> Response:
        """200 while the event loop turns."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """200 when store and registry are reachable and the host is not draining; else 503 with the reason. What works,
        but slower for now (a broker that is away), is in `degraded`."""
        reason = self._not_ready()
        if not reason:
            try:
                await self._store.ping()
            except Unavailable as error:
                reason = str(error)
        said = {"degraded": degraded} if (degraded := self._degraded()) else {}
        return JSONResponse({"status": reason or "ready", **said}, 503 if reason else 200)

    async def metrics(self, request: Request) -> Response:
        """The process's metrics in Prometheus' text format."""
        degraded = self._degraded()
        for engine in ("queue", "bus"):
            metrics.DEGRADED.labels(engine).set(engine in degraded)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def versions(self, request: Request) -> Response:
        """How each version of the agent does, whichever replica is asked: open tasks and contexts, and of the last `since`
        seconds (an hour unless given) what ended how, how long it took, and what executors measured."""
        since = _seconds(request.query_params.get("since", str(_HOUR)))
        if not 0 < since <= _LONGEST:
            message = f"since is a number of seconds, more than 0 and at most {_LONGEST:.0f}"
            return JSONResponse({"error": {"code": 400, "message": message}}, 400)
        found = await self._store.figures(since)
        told = {"since": since, "versions": [figures_json(one) for one in found]}
        return Response(orjson.dumps(told), media_type="application/json")

    async def trace(self, request: Request) -> Response:
        """How one of the caller's tasks went: work, steps, events and takeovers with their times, and which push
        notifications did not arrive, and why."""
        owner = request.scope["parley.identity"].owner
        task_id = request.path_params["id"]
        found = await self._store.trace(task_id, owner) if task_id.isprintable() else None
        if found is None:
            return JSONResponse({"error": {"code": 404, "message": "there is no such task"}}, 404)
        told = _trace_json(found, await self._undelivered(found.task.task_id))
        return Response(orjson.dumps(told), media_type="application/json")


def _seconds(given: str) -> float:
    try:
        return float(given)
    except ValueError:
        return math.nan


def _trace_json(found: TaskTrace, undelivered: Sequence[Failure]) -> dict[str, object]:
    task = fold(found.task)
    state = task.status.state if task is not None else found.task.state
    return {
        "taskId": found.task.task_id,
        "contextId": found.task.context_id,
        "version": found.task.version,
        "state": state,
        "generation": found.task.generation,
        "work": [
            {
                "number": w.number,
                "kind": w.kind,
                "version": w.version,
                "worker": w.worker,
                "attempt": w.attempt,
                "accepted": w.accepted,
                "started": w.started,
                "ended": w.ended,
                "traceparent": w.traceparent,
            }
            for w in found.work
        ],
        "steps": [
            {"name": s.name, "started": s.started, "ended": s.ended, "result": _step_result(s.result)}
            for s in found.steps
        ],
        "events": [
            {"generation": e.generation, "at": e.at, "state": e.state, "work": e.work} for e in found.events
        ],
        "takeovers": [{"epoch": epoch, "worker": worker, "at": at} for epoch, worker, at in found.takeovers],
        "undelivered": [
            {
                "configId": f.config_id,
                "generation": f.generation,
                "attempts": f.attempts,
                "reason": f.reason,
                "givenUp": f.given_up,
            }
            for f in undelivered
        ],
    }


_SHOWN_RESULT = 2048


def _step_result(kept: bytes) -> object:
    if kept[:1] == b"j" and len(kept) <= _SHOWN_RESULT:
        return orjson.loads(kept[1:])
    return {"bytes": len(kept) - 1, "head": base64.b64encode(kept[1:33]).decode()}
