"""The one place that observes requests: gives each an id, and when it is over a log line, its counts and its span.

Requests that are over are counted and logged a few at a time. Done for each at once, in between programs that have used
the processor's caches, the same work takes ten times as long (docs/observability.md has the figures).
"""

import asyncio
import contextvars
import datetime
import time
from typing import Any, NamedTuple

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from daemon.logs import IDS, Seldom

from . import note as notes
from .metrics import Metrics
from .note import Note
from .spans import Spans

HUNG_UP = 499  # of nginx: no answer was sent, because nobody was there to take it
PROBES = ("/health", "/health/live", "/health/ready", "/metrics")  # asked all day: at level debug while all is well
UNREAD_LINES_MAX = 1  # log lines in a second of requests that could not be read
LATER_S, TOGETHER_MAX = 0.05, 64  # until those that are over are counted; how many may wait for that


class _Over(NamedTuple):
    """A request that is over: `at_s` is the time of day, `ended_ns` CLOCK_MONOTONIC."""

    note: Note
    status: int
    ended_ns: int
    at_s: float
    client: str
    bytes_in: int
    bytes_out: int


class Observer:
    """`begin` and `end` enclose a request. Without `logs` there are no lines, without `spans` no spans."""

    def __init__(self, metrics: Metrics, spans: Spans | None, logs: bool) -> None:
        self._metrics, self._spans = metrics, spans
        self._log = structlog.get_logger("cellblock.access").bind() if logs else None
        self._seldom = Seldom(UNREAD_LINES_MAX)
        self._over: list[_Over] = []

    def install(self, app: web.Application) -> None:
        """Every request of `app` is begun, and every answer of it has the id. The first middleware to be installed."""

        async def give_id(request: web.Request, response: web.StreamResponse) -> None:
            note = request.get(notes.KEY) or self.begin(request, notes.template(request))
            response.headers[notes.REQUEST_ID] = note.request_id

        app.middlewares.insert(0, self._middleware())
        app.on_response_prepare.append(give_id)

    def _middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.begin(request, notes.template(request))
            return await handler(request)

        return middleware

    def begin(self, request: web.BaseRequest, path: str) -> Note:
        """All lines that are logged for the request from now on have its id."""
        note = notes.begin(request, path)
        if self._spans is not None:
            self._spans.begin(note)
        IDS.set(note.ids())
        return note

    def note_of(self, request: web.BaseRequest) -> Note:
        """Of one that has begun; one that could not be read begins only now."""
        return request.get(notes.KEY) or self.begin(request, notes.UNREAD)

    def end(self, request: web.BaseRequest, note: Note, sent: tuple[int, int] | None, client: str) -> None:
        """Its answer, status and bytes, was sent as far as somebody took it; None: there was none, because the client
        hung up or we stop. It is counted within LATER_S. `client` is as Client.name says it."""
        ended_ns = time.monotonic_ns()
        status, bytes_out = sent or (HUNG_UP, 0)
        if self._spans is not None:
            self._spans.end(note, status, ended_ns)
        self._add(_Over(note, status, ended_ns, time.time(), client, request.content.total_bytes, bytes_out))

    def end_unread(self, note: Note, status: int, client: str, bytes_out: int) -> None:
        """Somebody whose request could not be read was answered, outside of any handler."""
        self._add(_Over(note, status, time.monotonic_ns(), time.time(), client, 0, bytes_out))

    def _add(self, over: _Over) -> None:
        self._over.append(over)
        if len(self._over) == 1:
            asyncio.get_running_loop().call_later(LATER_S, self.count, context=contextvars.Context())
        elif len(self._over) >= TOGETHER_MAX:
            self.count()

    def cut(self, code: str) -> None:
        """A connection that had no request was closed without an answer, for what this problem's code says."""
        self._metrics.refuse(code)

    def count(self) -> None:
        """Count and log all requests that are over."""
        finished, self._over = self._over, []
        for over in finished:
            self._metrics.observe(over.note, over.status, over.ended_ns)
            if self._log is not None:
                self._say(self._log, over)

    def _say(self, log: Any, over: _Over) -> None:
        note = over.note
        facts: dict[str, object] = {
            "method": note.method,
            "path": note.path,
            "status": over.status,
            "ms": round((over.ended_ns - note.began_ns) / 1e6, 3),
            "client": over.client,
            "bytes_in": over.bytes_in,
            "bytes_out": over.bytes_out,
        }
        if note.path == notes.UNREAD:
            held_back = self._seldom.take(over.ended_ns / 1e9)
            if held_back is None:
                return
            if held_back:
                facts["held_back"] = held_back
        for name in ("language", "reason", "verdict", "code"):
            value = getattr(note, name)
            if value is not None:
                facts[name] = value
        when = datetime.datetime.fromtimestamp(over.at_s, datetime.UTC).isoformat().replace("+00:00", "Z")
        say = log.debug if note.path in PROBES and over.status < 300 else log.info
        say("request", **facts, **note.ids(), timestamp=when)
