"""What is known of one request while it is answered. Handlers write it; the log, the metrics and the span read it.

It holds names out of closed sets, numbers and ids: nothing of a source, of input or output, no token.
"""

import collections
import dataclasses
import os
import re
import time
from typing import TYPE_CHECKING

from aiohttp import web

from daemon.grading.task import GradeResult
from daemon.judge.submission import Report

from .trace import Trace, of_header

if TYPE_CHECKING:
    from opentelemetry.trace import Span

REQUEST_ID = "X-Request-Id"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
OTHER = "other"  # a method that is none of these
UNMATCHED, UNREAD = "unmatched", "unread"  # in a path's place: no endpoint has it; no request could be read
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclasses.dataclass(slots=True)
class Note:
    """Times are ns: `began_ns` and `known_ns`, when its outcome was known, of CLOCK_MONOTONIC, the others durations.

    `path` is an endpoint's template. `code` is the problem's that it was answered with. None: there was no such thing.
    """

    request_id: str
    method: str
    path: str
    trace: Trace | None
    began_ns: int
    language: str | None = None
    reason: str | None = None
    verdict: str | None = None
    code: str | None = None
    queue_ns: int | None = None
    acquire_ns: int | None = None
    compile_ns: int | None = None
    run_ns: int | None = None
    known_ns: int | None = None
    span: "Span | None" = None
    tests: dict[str, int] = dataclasses.field(default_factory=dict)  # how many had each verdict

    def ids(self) -> dict[str, str]:
        """What its log lines have in common."""
        if self.trace is None:
            return {"request_id": self.request_id}
        return {"request_id": self.request_id, "trace_id": self.trace.trace_id, "span_id": self.trace.span_id}

    def ran(self, report: Report) -> None:
        """A program ran, or did not compile. What did not happen (compiling what was kept) takes no part."""
        self.reason = report.reason.value
        self.acquire_ns = report.acquire_ns or None
        self.compile_ns = report.compile_ns or None
        self.run_ns = report.wall_ns or None
        self.known_ns = time.monotonic_ns()

    def graded(self, result: GradeResult) -> None:
        """A submission was graded."""
        self.verdict = result.verdict.value
        self.compile_ns = result.compile_ns or None
        self.tests = dict(collections.Counter(test.verdict.value for test in result.tests))
        self.known_ns = time.monotonic_ns()


KEY = web.RequestKey("note", Note)


def new_id() -> str:
    """Of a request that brought none: 128 random bits."""
    return os.urandom(16).hex()


def of_nobody(code: str) -> Note:
    """The note of an answer, with this problem's code, to somebody who has sent no request that could be read."""
    return Note(new_id(), OTHER, UNREAD, None, time.monotonic_ns(), code=code)


def of_later(path: str) -> Note:
    """The note of what is done for a client after its request, which was for this template, has been answered."""
    return Note(new_id(), OTHER, path, None, time.monotonic_ns())


def begin(request: web.BaseRequest, path: str) -> Note:
    """The note of a request that begins now. `path` is the template of its endpoint, UNMATCHED or UNREAD."""
    given, traceparent = request.headers.get(REQUEST_ID), request.headers.get("traceparent")
    note = Note(
        request_id=given if given and _GIVEN_ID.fullmatch(given) else new_id(),
        method=request.method if request.method in METHODS else OTHER,
        path=path,
        trace=None if traceparent is None else of_header(traceparent),
        began_ns=time.monotonic_ns(),
    )
    request[KEY] = note
    return note


def of(request: web.BaseRequest) -> Note:
    """The note of a request that has begun."""
    return request[KEY]


def template(request: web.Request) -> str:
    """`/problems/{id}` for /problems/sum: names of a closed set, whatever a client asks for."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical
