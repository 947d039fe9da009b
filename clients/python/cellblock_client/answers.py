"""From an answer, or an event of a stream, to a result or an exception. It is read already: nothing here waits."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import httpx

from . import errors
from .decoding import decoded, parsed
from .errors import ConnectionFailed, NoAnswer
from .results import (
    GradeEvent,
    GradeResult,
    Health,
    Language,
    Output,
    ProblemEntry,
    ProblemSummary,
    RunEvent,
    RunResult,
    Stage,
    TestResult,
)
from .retries import retry_after_s
from .sse import EventParser

Event = TypeVar("Event")

JSON, EVENTS = "application/json", "text/event-stream"


def run_result(response: httpx.Response) -> RunResult:
    """Raises ApiError, NoAnswer; and so do all that follow."""
    return decoded(RunResult, json_of(response))


def grade_result(response: httpx.Response) -> GradeResult:
    """Of both ways to grade."""
    return decoded(GradeResult, json_of(response))


def problem(response: httpx.Response) -> ProblemSummary:
    """A stored one."""
    return decoded(ProblemSummary, json_of(response))


def problems(response: httpx.Response) -> tuple[ProblemEntry, ...]:
    """The stored ones."""
    return tuple(decoded(ProblemEntry, one) for one in _list(response, "problems"))


def languages(response: httpx.Response) -> tuple[Language, ...]:
    """In alphabetical order of their ids."""
    return tuple(decoded(Language, one) for one in _list(response, "languages"))


def health(response: httpx.Response) -> Health:
    """Whoever is not well says so with status 503, which is no error of the request."""
    if response.status_code != 503 or not _is(response, JSON):
        check(response)
    found = parsed(response.content)
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        raise NoAnswer("The answer tells no health")
    details = {name: value for name, value in found.items() if name not in ("status", "version", "problems")}
    return Health(found["status"], str(found.get("version")), found.get("problems", {}), details)


def nothing(response: httpx.Response) -> None:
    """An answer without a body."""
    check(response)


def check(response: httpx.Response) -> None:
    """Raises ApiError for what is not 2xx, and NoAnswer for what no cellblock answers. The body is read already."""
    if response.is_success:
        return
    if response.is_redirect:
        raise NoAnswer(f"The server sends elsewhere: {response.headers.get('Location')}")
    found = errors.problem_of(response.content, response.headers.get("Content-Type", ""))
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    raise errors.of_problem(found, response.status_code, wait_s, response.headers.get("X-Request-Id"))


def json_of(response: httpx.Response) -> Any:
    """As it is."""
    check(response)
    return parsed(response.content)


def _list(response: httpx.Response, name: str) -> list[Any]:
    answer = json_of(response)
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise NoAnswer(f"The answer has no {name}")
    return found


def _is(response: httpx.Response, media_type: str) -> bool:
    return bool(response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == media_type)


def check_stream(response: httpx.Response) -> None:
    """Raises ApiError, and NoAnswer unless an event stream begins. What is an error is read already."""
    check(response)
    if not _is(response, EVENTS):
        raise NoAnswer("The answer is no event stream")


@dataclasses.dataclass(slots=True)
class Events(Generic[Event]):
    """Reads one stream. `read` gives the result of an event by its name and data, None for one that is not known, and
    `last` is the type of the last one."""

    read: Callable[[str, str], Event | None]
    last: type
    request_id: str | None
    _is_over: bool = False
    _parser: EventParser = dataclasses.field(default_factory=EventParser)

    def feed(self, data: bytes | None) -> Iterator[Event]:
        """What these bytes complete; None is the end of them. Raises ApiError for the event `error`, NoAnswer, and
        ConnectionFailed where the last event has not come at the end."""
        if data is None and not self._is_over:
            raise ConnectionFailed("The event stream ended before its result")
        for name, text in self._parser.feed(data or b""):
            if name == "error":
                raise _of_event(parsed(text), self.request_id)
            event = self.read(name, text)
            if event is not None:
                self._is_over = self._is_over or isinstance(event, self.last)
                yield event


def _of_event(problem: Any, request_id: str | None) -> errors.ApiError:
    match problem:
        case {"status": int(status)}:
            return errors.of_problem(problem, status, None, request_id)
    return errors.of_problem({}, 500, None, request_id)


def run_event(name: str, data: str) -> RunEvent | None:
    """Raises NoAnswer."""
    match name:
        case "stage":
            return decoded(Stage, parsed(data))
        case "stdout" | "stderr":
            return Output(name, decoded(_Text, parsed(data)).text)
        case "result":
            return decoded(RunResult, parsed(data))
        case _:
            return None


def grade_event(name: str, data: str) -> GradeEvent | None:
    """Raises NoAnswer."""
    match name:
        case "test":
            return decoded(TestResult, parsed(data))
        case "result":
            return decoded(GradeResult, parsed(data))
        case _:
            return None


@dataclasses.dataclass(frozen=True, slots=True)
class _Text:
    text: str
