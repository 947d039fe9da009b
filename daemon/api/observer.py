"""The one place that observes requests: gives each an id, and when it is over a log line, its counts and its span."""

import asyncio
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from daemon.logs import Seldom

from . import note as notes
from .metrics import Metrics
from .note import Note
from .spans import Spans

HUNG_UP = 499  # of nginx: no answer was sent, because nobody was there to take it
PROBES = (
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
)  # asked all day: told at level debug while all is well
UNREAD_LINES_MAX = 1  # log lines in a second of requests that could not be read


class Observer:
    """`begin` and `end` enclose a request. Without `logs` there are no lines, without `spans` no spans."""

    def __init__(self, metrics: Metrics, spans: Spans | None, logs: bool) -> None:
        self._metrics, self._spans = metrics, spans
        self._log = structlog.get_logger("cellblock.access").bind() if logs else None
        self._seldom = Seldom(UNREAD_LINES_MAX)

    def install(self, app: web.Application) -> None:
        """Every request of `app` is begun, and every answer of it has the id. The first middleware to be installed."""

        async def give_id(request: web.Request, response: web.StreamResponse) -> None:
            response.headers[notes.REQUEST_ID] = notes.of(request).request_id

        app.middlewares.insert(0, self._middleware())
        app.on_response_prepare.append(give_id)

    def _middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            note = self.begin(request, notes.template(request))
            try:
                return await handler(request)
            except asyncio.CancelledError:  # the client hung up, or the process stops
                self.end(request, note, None)
                raise

        return middleware

    def begin(self, request: web.BaseRequest, path: str) -> Note:
        """All lines that are logged for the request from now on have its id."""
        note = notes.begin(request, path)
        if self._spans is not None:
            self._spans.begin(note)
        if note.trace is None:
            structlog.contextvars.bind_contextvars(request_id=note.request_id)
        else:
            trace = note.trace
            structlog.contextvars.bind_contextvars(
                request_id=note.request_id, trace_id=trace.trace_id, span_id=trace.span_id
            )
        return note

    def end(self, request: web.BaseRequest, note: Note, response: web.StreamResponse | None) -> None:
        """Its answer was sent as far as somebody took it; None: there was none."""
        ended_ns = time.monotonic_ns()
        status = HUNG_UP if response is None else response.status
        self._metrics.observe(note, status, ended_ns)
        if self._spans is not None:
            self._spans.end(note, status, ended_ns)
        if self._log is not None:
            self._say(request, note, response, status, ended_ns)

    def _say(
        self, request: web.BaseRequest, note: Note, response: web.StreamResponse | None, status: int, ended_ns: int
    ) -> None:
        facts = {
            "method": note.method,
            "path": note.path,
            "status": status,
            "ms": round((ended_ns - note.began_ns) / 1e6, 3),
            "client": request.remote or "unix",
            "bytes_in": request.content.total_bytes,
            "bytes_out": 0 if response is None else response.body_length,
        }
        if note.path == notes.UNREAD:
            held_back = self._seldom.take(ended_ns / 1e9)
            if held_back is None:
                return
            if held_back:
                facts["held_back"] = held_back
        for name in ("language", "reason", "verdict", "code"):
            value = getattr(note, name)
            if value is not None:
                facts[name] = value
        assert self._log is not None
        say = self._log.debug if note.path in PROBES and status < 300 else self._log.info
        say("request", **facts)
