"""The client for programs without asyncio."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from . import addresses, answers, requests
from .answers import EVENTS, JSON
from .errors import of_transport
from .requests import GradeOptions, ProblemOptions, Request, RunOptions, Test
from .results import GradeEvent, GradeResult, Health, Language, ProblemEntry, ProblemSummary, RunEvent, RunResult
from .retries import USUAL, Retries, retry_after_s

Result = TypeVar("Result")
Event = TypeVar("Event")


class Client:
    """Talks with the server at `url`: http://…, https://…, or unix:/PATH for a socket. May be shared by threads.

    Connecting has `connect_s` seconds; each wait for bytes, so a run with its time in the queue, has `read_s` (None: no
    limit). `retries` says how refused requests are sent again. To be closed, or used as a context manager. Each call
    raises ApiError, ConnectionFailed and NoAnswer, and ValueError for what cannot be sent. At most 100 are under way at
    once, a stream until its block ends; one more waits.
    """

    def __init__(
        self, url: str, *, token: str | None = None, retries: Retries = USUAL,
        connect_s: float = 10.0, read_s: float | None = 300.0,
    ) -> None:  # fmt: skip
        uds = addresses.uds_of(url)
        transport = None if uds is None else httpx.HTTPTransport(uds=uds)
        self._http = httpx.Client(transport=transport, **addresses.settings(url, connect_s, read_s))
        self._retries, self._token = retries, token

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def with_token(self, token: str | None) -> Self:
        """The same server and the same connections, for whoever has this token. Only one of them is to be closed."""
        other = copy.copy(self)
        other._token = token
        return other

    def run(self, language: str, code: str, **options: Unpack[RunOptions]) -> RunResult:
        """Runs a program to its end."""
        return self._send(requests.run(language, code, options), answers.run_result)

    def run_stream(
        self, language: str, code: str, **options: Unpack[RunOptions]
    ) -> contextlib.AbstractContextManager[Iterator[RunEvent]]:
        """`with client.run_stream(…) as events:` gives Stage and Output as they happen, and the RunResult last. Whoever
        leaves the block before ends the program."""
        return self._stream(requests.run(language, code, options), answers.run_event, RunResult)

    def grade(self, language: str, code: str, tests: Iterable[Test], **options: Unpack[GradeOptions]) -> GradeResult:
        """Compiles a submission once, runs it on each test and judges it."""
        return self._send(requests.grade(language, code, tests, options), answers.grade_result)

    def grade_stream(
        self, language: str, code: str, tests: Iterable[Test], **options: Unpack[GradeOptions]
    ) -> contextlib.AbstractContextManager[Iterator[GradeEvent]]:
        """As run_stream: a TestResult for each test in their order, and the GradeResult last."""
        return self._stream(requests.grade(language, code, tests, options), answers.grade_event, GradeResult)

    def grade_problem(
        self, problem: str, language: str, code: str, **options: Unpack[ProblemOptions]
    ) -> GradeResult:  # fmt: skip
        """Grades by the problem that is stored under this id."""
        return self._send(requests.grade_problem(problem, language, code, options), answers.grade_result)

    def grade_problem_stream(
        self, problem: str, language: str, code: str, **options: Unpack[ProblemOptions]
    ) -> contextlib.AbstractContextManager[Iterator[GradeEvent]]:
        """As grade_stream."""
        request = requests.grade_problem(problem, language, code, options)
        return self._stream(request, answers.grade_event, GradeResult)

    def put_problem(self, problem: str, package: bytes) -> ProblemSummary:
        """Stores a zip under this id, in place of what it had; `read_s` must be enough to time its submissions."""
        return self._send(requests.put_problem(problem, package), answers.problem)

    def get_problem(self, problem: str) -> ProblemSummary:
        """What the problem is."""
        return self._send(requests.get_problem(problem), answers.problem)

    def delete_problem(self, problem: str) -> None:
        """Forgets it."""
        self._send(requests.delete_problem(problem), answers.nothing)

    def problems(self) -> tuple[ProblemEntry, ...]:
        """All that are stored, sorted by id."""
        return self._send(requests.PROBLEMS, answers.problems)

    def languages(self) -> tuple[Language, ...]:
        """All that are installed, sorted by id."""
        return self._send(requests.LANGUAGES, answers.languages)

    def health(self) -> Health:
        """Whether programs run: an answer, too, when they do not."""
        return self._send(requests.HEALTH, answers.health)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that an endpoint answers, for what has no method here. `body`, unless None, is sent as JSON."""
        return self._send(requests.call(method, path, body), answers.json_of)

    def _send(self, request: Request, read: Callable[[httpx.Response], Result]) -> Result:
        response = self._answered(request, JSON)
        with of_transport(), contextlib.closing(response):
            response.read()
        return read(response)

    @contextlib.contextmanager
    def _stream(
        self, request: Request, read: Callable[[str, str], Event | None], last: type
    ) -> Iterator[Iterator[Event]]:
        response = self._answered(request, EVENTS)
        with contextlib.closing(response):
            if not response.is_success:
                with of_transport():
                    response.read()
            answers.check_stream(response)
            yield self._events(response, answers.Events(read, last, response.headers.get("X-Request-Id")))

    def _events(self, response: httpx.Response, events: answers.Events[Event]) -> Iterator[Event]:
        pieces = response.iter_bytes()
        is_open = True
        while is_open:
            with of_transport():
                piece = next(pieces, None)
            yield from events.feed(piece)
            is_open = piece is not None  # read to its end, so that the connection can be used again

    def _answered(self, request: Request, accept: str) -> httpx.Response:
        """The answer to the last attempt, of which only the headers are read."""
        attempt = 0
        while True:
            attempt += 1
            with of_transport():
                headers = request.headers(accept, self._token)
                made = self._http.build_request(request.method, request.path, content=request.content, headers=headers)
                response = self._http.send(made, stream=True)
            told_s = retry_after_s(response.headers.get("Retry-After"))
            wait_s = self._retries.wait_s(attempt, response.status_code, told_s)
            if wait_s is None:
                return response
            with of_transport(), contextlib.closing(response):
                response.read()  # all of it, so that the connection can be used again
            time.sleep(wait_s)
