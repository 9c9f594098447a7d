"""Traces over a real server and real workers: several processes export one trace."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.ports import HOST
from tests.system.processes import ROOT, Machine, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "traced_programs.py"
END_S_MAX: Final = 60.0


class Collector(ThreadingHTTPServer):
    """Keeps the spans that exporters post to it."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Receiver)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        """The URL to post to."""
        return f"http://{HOST}:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    """The handler of one request."""

    def do_POST(self) -> None:
        """Record the posted spans."""
        length = int(self.headers["content-length"])
        request = ExportTraceServiceRequest.FromString(self.rfile.read(length))
        assert isinstance(self.server, Collector)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by its base
        """Log nothing."""


@contextmanager
def collecting() -> Generator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def test_workers_that_drain_have_exported_one_trace_of_parent_and_child(tmp_path: Path) -> None:
    with collecting() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with Machine(tmp_path, environment=environment) as machine:
            machine.start_server()
            machine.start_worker(PROGRAMS)
            machine.wait_for_worker("traced_order")
            with machine.client() as client:
                arn = client.start("traced_order", None).execution_arn
                wait_until(lambda: len(client.get(arn).open_callbacks) == 1, "it asks")
                assert machine.stop("worker") == 0
                assert {span.name for span in collector.spans} >= {"price", "Invocation"}
                machine.start_worker(PROGRAMS)
                (callback,) = client.get(arn).open_callbacks
                client.succeed_callback(callback.callback_id, "yes")
                assert client.result(arn, timeout_s=END_S_MAX) == [7, '"yes"', 14]
                assert machine.stop("worker") == 0
            assert "Traceback" not in machine.logs_text()
    spans = collector.spans
    assert len({span.trace_id for span in spans}) == 1
    names = [span.name for span in spans]
    once = ["DurableExecutionRoot", "price", "price attempt 1", "approval", "ship", "pack"]
    assert [names.count(name) for name in once] == [1] * len(once)
    (shipped,) = (span for span in spans if span.name == "ship")
    workflows = {span.parent_span_id for span in spans if span.name == "Workflow"}
    assert len(workflows) == 2
    assert shipped.span_id in workflows
    known = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id not in known] == [
        "DurableExecutionRoot"
    ]
