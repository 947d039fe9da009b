"""Why a request was not carried out."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx


class ClientError(Exception):
    """All exceptions of this package."""


class ConnectionFailed(ClientError):
    """The server was not reached, did not answer in time, or the connection broke. A run may have begun."""


class NoAnswer(ClientError):
    """What came is no answer of cellblock: another server, or another path, answers at this URL."""


@dataclasses.dataclass(frozen=True, slots=True)
class FieldError:
    """A field of the request that is wrong. `field` is its path, such as `tests.0.args`."""

    field: str
    message: str


class ApiError(ClientError):
    """The server refused the request (RFC 9457). `code` is for programs, `detail` is a sentence for people.

    `retry_after_s` says when to try again, None where the server does not tell.
    """

    def __init__(
        self, status: int, code: str, detail: str, errors: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None, request_id: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(f"{detail} ({status} {code})")
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        self.retry_after_s, self.request_id = retry_after_s, request_id


class InvalidRequest(ApiError):
    """The request is wrong: 4xx but those below. The same request will be refused again."""


class AccessDenied(ApiError):
    """The token is missing, not valid, or not for this: 401, 403."""


class Busy(ApiError):
    """Nothing was begun, because there is no room for it now: 429, 503. All retries, if any, are used up."""


def of_problem(
    problem: Mapping[str, Any], status: int, retry_after_s: float | None, request_id: str | None
) -> ApiError:
    """The exception for an answer's, or an event's, problem. What it lacks is taken from `status`."""
    kind = _kind(status)
    told = problem.get("errors")
    found = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    fields = tuple(FieldError(str(one.get("field")), str(one.get("message"))) for one in found)
    detail = str(problem.get("detail") or f"The server answered {status}")
    return kind(status, str(problem.get("code") or "http_error"), detail, fields, retry_after_s, request_id)


def _kind(status: int) -> type[ApiError]:
    match status:
        case 401 | 403:
            return AccessDenied
        case 429 | 503:
            return Busy
        case _ if 400 <= status < 500:
            return InvalidRequest
        case _:
            return ApiError


def problem_of(body: bytes, content_type: str) -> Mapping[str, Any]:
    """The problem that a body tells; empty where it tells none."""
    if not content_type.startswith("application/problem+json"):
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def of_transport() -> Iterator[None]:
    """Raises ConnectionFailed for what httpx raises while it connects, sends and reads, and NoAnswer for a body that is
    not encoded as its headers say."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise ConnectionFailed(f"No answer in time ({type(error).__name__})") from error
    except httpx.DecodingError as error:
        raise NoAnswer(f"The answer cannot be read: {error}") from error
    except httpx.TransportError as error:
        raise ConnectionFailed(str(error) or type(error).__name__) from error
