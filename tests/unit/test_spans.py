"""Spans of OpenTelemetry: one of a request, one of each of its phases, and none unless asked for."""

import subprocess
import sys
import time

import aiohttp
import pytest
from aiohttp import test_utils, web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from daemon.api import errors, spans
from daemon.api import note as notes
from daemon.api.client import Addresses
from daemon.api.connections import Connections, Limits
from daemon.api.listening import Runner
from daemon.api.metrics import Metrics
from daemon.api.observer import Observer
from daemon.settings import Settings

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MS = 1_000_000


async def work(request: web.Request) -> web.Response:
    """Notes what POST /execute does."""
    note = notes.of(request)
    note.language, note.reason = "python", "exited"
    note.queue_ns, note.acquire_ns, note.run_ns, note.known_ns = 1 * MS, 2 * MS, 3 * MS, time.monotonic_ns()
    return web.Response(text=note.trace.trace_id if note.trace is not None else "")


async def fail(_: web.Request) -> web.Response:
    raise errors.ApiProblem(503, "queue_full", "all busy")


async def asked(path: str, headers: dict[str, str]) -> tuple[str, list[ReadableSpan]]:
    """The answer of a real server, and the spans of the request, in the order of their ends."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = Observer(Metrics(), spans.Spans(provider), logs=False)
    app = web.Application(middlewares=[errors.middleware])
    observer.install(app)
    app.router.add_get("/work/{id}", work)
    app.router.add_get("/fail", fail)
    runner = Runner(app, observer, Connections(Limits.of(Settings())), Addresses(()))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", test_utils.unused_port())
    await site.start()
    try:
        async with aiohttp.ClientSession(site.name) as client, client.get(path, headers=headers) as response:
            text = await response.text()
    finally:
        await runner.cleanup()
    return text, list(exporter.get_finished_spans())


async def test_a_request_has_a_span_with_its_phases_below_the_callers() -> None:
    text, found = await asked("/work/7", {"traceparent": f"00-{TRACE}-{SPAN}-01", "X-Request-Id": "r-1"})
    *phases, server = found
    assert text == TRACE
    assert (server.name, server.kind.name) == ("GET /work/{id}", "SERVER")
    assert server.parent is not None and server.context is not None
    assert (f"{server.context.trace_id:032x}", f"{server.parent.span_id:016x}") == (TRACE, SPAN)
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET", "http.route": "/work/{id}", "http.response.status_code": 200,
        "cellblock.request_id": "r-1", "cellblock.language": "python", "cellblock.reason": "exited",
    }  # fmt: skip
    assert [phase.name for phase in phases] == ["queue", "acquire", "run", "answer"]
    assert all(phase.parent is not None and phase.parent.span_id == server.context.span_id for phase in phases)
    took = [(phase.end_time or 0) - (phase.start_time or 0) for phase in phases]
    assert took[:3] == pytest.approx([1 * MS, 2 * MS, 3 * MS], abs=0.05 * MS)


async def test_without_a_caller_the_request_begins_a_trace() -> None:
    text, found = await asked("/work/7", {})
    assert found[-1].parent is None and found[-1].context is not None
    assert text == f"{found[-1].context.trace_id:032x}"


async def test_a_callers_decision_not_to_sample_is_kept() -> None:
    text, found = await asked("/work/7", {"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert (text, found) == (TRACE, [])


async def test_a_failure_of_ours_is_an_error() -> None:
    _, (server,) = await asked("/fail", {})
    assert server.status.status_code.name == "ERROR"
    assert (server.attributes or {})["cellblock.code"] == "queue_full"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_ask_for_spans(environment: dict[str, str], expected: bool) -> None:
    assert spans.is_asked_for(environment) is expected


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    program = "import sys; from daemon import app; from daemon.api import spans; spans.from_environment({}); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_extra_the_log_says_what_is_missing() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None; from daemon.api import spans;"
        "print(spans.from_environment({'OTEL_TRACES_EXPORTER': 'otlp'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "cellblock[otel]" in done.stdout and done.stdout.endswith("None\n")
