"""OpenTelemetry spans: one of each request, and one of each of its phases, in the extra `cellblock[otel]`.

Off unless the extra is installed and one of the standard variables asks for it; without, nothing of it is imported.
Everything else (exporter's address and headers, sampler, resource, batches) is OpenTelemetry's own to read:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from .note import Note
from .trace import Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger("cellblock.spans")

ASKED_BY = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTERS = ("", "otlp")  # of OTEL_TRACES_EXPORTER
FLUSH_S = 1.0  # at the end, for what is not exported yet
SERVER_ERROR = 500


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """One of the standard variables names an exporter, and none says that there is to be none."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return environment.get("OTEL_TRACES_EXPORTER") != "none" and any(environment.get(name) for name in ASKED_BY)


def from_environment(environment: Mapping[str, str]) -> "Spans | None":
    """Spans that are exported by OTLP over HTTP, or None. It says so in the log where they are asked for in vain."""
    if not is_asked_for(environment):
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "") not in EXPORTERS:
        log.error("no spans: OTEL_TRACES_EXPORTER may be otlp or none")
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.error("no spans: install cellblock[otel]", missing=error.name)
        return None
    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {"service.name": "cellblock"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)


class Spans:
    """`begin` and `end` enclose a request; they only note, a thread of the provider's exports."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace

        self._api, self._provider = trace, provider
        self._tracer = provider.get_tracer("cellblock")

    def begin(self, note: Note) -> None:
        """Open the request's span, a child of the caller's where it told one; `note.trace` is this span from now on."""
        api, context = self._api, None
        if note.trace is not None:
            flags = api.TraceFlags(api.TraceFlags.SAMPLED if note.trace.is_sampled else api.TraceFlags.DEFAULT)
            ids = int(note.trace.trace_id, 16), int(note.trace.span_id, 16)
            parent = api.SpanContext(*ids, is_remote=True, trace_flags=flags)
            context = api.set_span_in_context(api.NonRecordingSpan(parent))
        attributes = {
            "http.request.method": note.method,
            "http.route": note.path,
            "cellblock.request_id": note.request_id,
        }
        span = self._tracer.start_span(
            f"{note.method} {note.path}", context, api.SpanKind.SERVER, attributes, start_time=_unix_ns(note.began_ns)
        )
        own = span.get_span_context()
        note.trace = Trace(f"{own.trace_id:032x}", f"{own.span_id:016x}", bool(own.trace_flags.sampled))
        note.span = span

    def end(self, note: Note, status: int, ended_ns: int) -> None:
        """Close it, with a child of each phase that the request had."""
        api, span = self._api, note.span
        assert span is not None, "it was begun"
        context = api.set_span_in_context(span)
        if note.known_ns is not None:
            at_ns = note.known_ns - sum(took or 0 for _, took in _phases(note))
            for name, took_ns in (*_phases(note), ("answer", ended_ns - note.known_ns)):
                if took_ns:
                    phase = self._tracer.start_span(name, context, start_time=_unix_ns(at_ns))
                    at_ns += took_ns
                    phase.end(_unix_ns(at_ns))
        for name in ("language", "reason", "verdict", "code"):
            value = getattr(note, name)
            if value is not None:
                span.set_attribute(f"cellblock.{name}", value)
        span.set_attribute("http.response.status_code", status)
        if status >= SERVER_ERROR:
            span.set_status(api.StatusCode.ERROR)
        span.end(_unix_ns(ended_ns))

    async def close(self) -> None:
        """Export what is left, for FLUSH_S at most."""
        await asyncio.to_thread(self._provider.force_flush, int(FLUSH_S * 1000))


def _phases(note: Note) -> tuple[tuple[str, int | None], ...]:
    """In the order in which they happen; they end when the outcome is known."""
    return ("queue", note.queue_ns), ("acquire", note.acquire_ns), ("compile", note.compile_ns), ("run", note.run_ns)


def _unix_ns(monotonic_ns: int) -> int:
    """OpenTelemetry's clock is CLOCK_REALTIME."""
    return monotonic_ns - time.monotonic_ns() + time.time_ns()
