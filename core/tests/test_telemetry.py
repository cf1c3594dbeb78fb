"""Traces: a position for every call, and spans to a collector when the standard variables name one."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from parley_core import telemetry
from parley_core.telemetry import current_trace, new_trace, parse_traceparent, span


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An OTLP/HTTP collector that keeps what it is sent."""
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_position_survives_its_header() -> None:
    here = new_trace()
    assert parse_traceparent(here.traceparent) == here
    assert here.child().trace_id == here.trace_id
    assert here.child().span_id != here.span_id


@pytest.mark.parametrize(
    "value", [None, "", "nonsense", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "01-aa-bb-00"]
)
def test_a_malformed_header_is_no_position(value: str | None) -> None:
    assert parse_traceparent(value) is None


def test_spans_nest_and_let_exceptions_through() -> None:
    with span("outer") as outer:
        assert current_trace.get() == outer
        with pytest.raises(ZeroDivisionError), span("inner"):
            1 / 0  # noqa: B018
        with span("inner") as inner:
            assert inner.trace_id == outer.trace_id
        assert current_trace.get() == outer
    assert current_trace.get() is None


def test_spans_go_to_the_collector_that_the_environment_names(
    collector: tuple[str, list[tuple[str, bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    telemetry.start("hello", "one")
    parent = new_trace()
    with span("parley.execute", parent, **{"a2a.task.id": "t1"}) as here:
        pass
    telemetry.stop()
    assert [path for path, _ in received] == ["/v1/traces"]
    sent = ExportTraceServiceRequest.FromString(received[0][1])
    [resource] = sent.resource_spans
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert names["service.name"] == "hello"
    [got] = resource.scope_spans[0].spans
    assert (got.name, got.trace_id.hex(), got.parent_span_id.hex()) == (
        "parley.execute",
        here.trace_id,
        parent.span_id,
    )
    assert {a.key: a.value.string_value for a in got.attributes} == {"a2a.task.id": "t1"}
