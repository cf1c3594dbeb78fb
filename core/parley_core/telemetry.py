"""Traces, metrics and logs: OpenTelemetry's names, off the hot path.

A trace context (W3C `traceparent`) exists for every call whether or not anything collects it, so logs and
stored tasks always carry ids that join up. Spans are exported only when the standard OTEL_EXPORTER_OTLP_*
variables are set; otherwise a span costs one object.
"""

import json
import logging
import os
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")
_random = random.Random()  # ids to join records by, no secrets


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A position in a trace: 16-byte trace id and 8-byte span id, both as lower-case hex."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The W3C header value of this position."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "TraceContext":
        """A new position in the same trace."""
        return TraceContext(self.trace_id, f"{_random.getrandbits(64) or 1:016x}", self.sampled)


def new_trace() -> TraceContext:
    """The root of a new trace."""
    return TraceContext(f"{_random.getrandbits(128) or 1:032x}", f"{_random.getrandbits(64) or 1:016x}")


def parse_traceparent(value: str | None) -> TraceContext | None:
    """The position a `traceparent` header names, or None when it is absent or malformed."""
    match = _TRACEPARENT.match(value or "")
    if not match or match[1] == "0" * 32 or match[2] == "0" * 16:
        return None
    return TraceContext(match[1], match[2], bool(int(match[3], 16) & 1))


current_trace: ContextVar[TraceContext | None] = ContextVar("parley_trace", default=None)
log_fields: ContextVar[Mapping[str, str]] = ContextVar("parley_log_fields", default={})  # noqa: B039


@contextmanager
def span(
    name: str, parent: TraceContext | None = None, **attributes: str | int | float | bool
) -> Iterator[TraceContext]:
    """Run a block as one span named `name`, a child of `parent` or of the current one.

    Yields the span's own position, which is the current one inside the block. An exception marks the span
    as failed and goes on.
    """
    above = parent or current_trace.get()
    here = above.child() if above else new_trace()
    token = current_trace.set(here)
    started = time.time_ns()
    failed: BaseException | None = None
    try:
        yield here
    except BaseException as error:
        failed = error
        raise
    finally:
        current_trace.reset(token)
        if _exporter is not None:
            _exporter.add(name, here, above, started, attributes, failed)


class _Exporter:
    """Finished spans to an OTLP collector, by the OpenTelemetry SDK's batching thread."""

    def __init__(self, service: str, instance: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._provider = TracerProvider(resource=self._resource)

    def add(
        self,
        name: str,
        here: TraceContext,
        above: TraceContext | None,
        started: int,
        attributes: Mapping[str, Any],
        failed: BaseException | None,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def position(context: TraceContext) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
            return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), False, flags)

        status = Status(StatusCode.ERROR, str(failed)) if failed else Status(StatusCode.OK)
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=position(here),
                parent=position(above) if above else None,
                resource=self._resource,
                attributes=dict(attributes),
                kind=SpanKind.INTERNAL,
                status=status,
                start_time=started,
                end_time=time.time_ns(),
            )
        )

    def close(self) -> None:
        self._processor.shutdown()


_exporter: _Exporter | None = None


def start(service: str, instance: str) -> None:
    """Begin exporting spans if OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) says where to."""
    global _exporter
    wanted = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )
    if wanted and _exporter is None:
        _exporter = _Exporter(service, instance)


def stop() -> None:
    """Send what is still pending and stop exporting."""
    global _exporter
    if _exporter is not None:
        _exporter.close()
        _exporter = None


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **log_fields.get(),
        }
        trace = current_trace.get()
        if trace:
            line["trace_id"] = trace.trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _PlainLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{k}={v}" for k, v in log_fields.get().items())
        trace = current_trace.get()
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {record.name}: {record.getMessage()}"
        if extra:
            text += f" {extra}"
        if trace:
            text += f" trace_id={trace.trace_id}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


LogFormat = Literal["auto", "text", "json"]
"""How log lines are written; auto: as text on a terminal, else as JSON."""


def configure_logging(level: str = "info", *, form: LogFormat = "auto") -> None:
    """Structured logs on standard error."""
    as_json = not sys.stderr.isatty() if form == "auto" else form == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _PlainLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "a2a"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
