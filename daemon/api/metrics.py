"""What is counted of requests, for Prometheus. The help texts tell the meanings.

One registry for each HTTP process, written on its event loop alone. Labels come from closed sets: toolchain ids,
endpoint templates, status codes, and the enums of reasons, verdicts and problem codes.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from daemon.grading.verdicts import Verdict
from daemon.judge.submission import Reason

from . import unread
from .error_codes import CODES
from .note import UNREAD, Note
from .process_metrics import OfProcess

PREFIX = "cellblock_"
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
UPLOAD = "PUT", "/problems/{id}"
PHASES = "queue: until it has a slot; acquire: its jails; compile; run: wall time; answer: until sent"


class Metrics:
    """`observe` is called once for each request, when its answer has been sent or nobody waits for it any more.

    What may be alerted on is there from the start with 0: Prometheus sees no increase in a series that begins with 1.
    """

    def __init__(self, languages: Iterable[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(OfProcess())

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, registry=registry, buckets=SECONDS)

        self._requests = counter(
            "requests", "Requests by endpoint and status; 499: the client hung up", "method", "path", "status"
        )
        self._duration = histogram("request_seconds", "From a request's headers until its answer was sent", "path")
        self._runs = counter("runs", "Answers of POST /execute by why the program ended", "language", "reason")
        self._phases = histogram("phase_seconds", PHASES, "language", "phase")
        self._gradings = counter("gradings", "Gradings by verdict", "language", "verdict")
        self._tests = counter("graded_tests", "Tests of gradings by verdict", "language", "verdict")
        self._refused = counter(
            "refused", "Requests and connections answered with a problem or cut, by its code", "code"
        )
        self._uploads = counter("uploads", "Uploaded packages: stored, replaced, or a problem's code", "outcome")
        for code in (*CODES, unread.CODE):
            self._refused.labels(code)
        for language in languages:
            for reason in Reason:
                self._runs.labels(language, reason.value)
            for verdict in Verdict:
                self._gradings.labels(language, verdict.value)

    def refuse(self, code: str) -> None:
        """Count a connection that was refused, or ended, by us when it had no request."""
        self._refused.labels(code).inc()

    def observe(self, note: Note, status: int, ended_ns: int) -> None:
        """Count a request that was answered with `status` at `ended_ns` (CLOCK_MONOTONIC)."""
        self._requests.labels(note.method, note.path, str(status)).inc()
        if note.path != UNREAD:
            self._duration.labels(note.path).observe((ended_ns - note.began_ns) / 1e9)
        if note.code is not None:
            self._refused.labels(note.code).inc()
        if (note.method, note.path) == UPLOAD:
            outcome = note.code or {200: "replaced", 201: "stored"}.get(status, "hung_up")
            self._uploads.labels(outcome).inc()
        if note.language is not None:
            self._observe_work(note, note.language, ended_ns)

    def _observe_work(self, note: Note, language: str, ended_ns: int) -> None:
        if note.reason is not None:
            self._runs.labels(language, note.reason).inc()
        if note.verdict is not None:
            self._gradings.labels(language, note.verdict).inc()
        for verdict, count in note.tests.items():
            self._tests.labels(language, verdict).inc(count)
        answer_ns = None if note.known_ns is None else ended_ns - note.known_ns
        for phase, took_ns in (
            ("queue", note.queue_ns), ("acquire", note.acquire_ns), ("compile", note.compile_ns),
            ("run", note.run_ns), ("answer", answer_ns),
        ):  # fmt: skip
            if took_ns is not None:
                self._phases.labels(language, phase).observe(took_ns / 1e9)
