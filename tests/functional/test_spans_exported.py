"""Spans reach a collector that speaks OTLP over HTTP, by the standard variables alone."""

import http.server
import threading

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.server import START_S, Server, until


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    received: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.received.append(ExportTraceServiceRequest.FromString(data))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_collector_gets_the_spans_of_a_run() -> None:
    Collector.received = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        server = Server(languages=["python"])
        server.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
        server.environment["OTEL_BSP_SCHEDULE_DELAY"] = "100"  # ms; the default is 5 s
        with server:
            server.post({"language": "python", "code": "print(1)"}, **{"X-Request-Id": "spans-1"})
            until(lambda: "POST /execute" in names(), START_S, "the span")
        collector.shutdown()
    resources = {
        attribute.value.string_value
        for request in Collector.received
        for one in request.resource_spans
        for attribute in one.resource.attributes
        if attribute.key == "service.name"
    }
    assert resources == {"cellblock"}
    assert {"queue", "acquire", "run", "answer"} <= names()


def names() -> set[str]:
    return {
        span.name
        for request in Collector.received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
