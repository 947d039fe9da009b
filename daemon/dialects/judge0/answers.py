"""How an answer is written: JSON, and errors as Judge0 has them."""

import json

from aiohttp import web

from daemon.api import errors, responses
from daemon.api.errors import ApiProblem
from daemon.api.parsing import FieldError

from .database import NoRoom
from .wanted import Invalid

QUEUE_FULL = "queue is full"  # Judge0's words
RETRY_AFTER_S = 1
UNPROCESSABLE = 422


class Unprocessable(ApiProblem):
    """Judge0's 422: a list of sentences for each field that is wrong."""

    def __init__(self, invalid: Invalid) -> None:
        errors = tuple(FieldError(field, text) for field, texts in invalid.errors.items() for text in texts)
        detail = "; ".join(f"{error.field} {error.message}" for error in errors)
        super().__init__(UNPROCESSABLE, "invalid_request", detail, errors)
        self.by_field = invalid.errors


def no_room(error: NoRoom) -> ApiProblem:
    """429 for a client that has its share, else 503."""
    if error.over_share:
        return ApiProblem(429, "over_share", str(error), retry_after_s=RETRY_AFTER_S)
    return ApiProblem(503, "queue_full", str(error), retry_after_s=RETRY_AFTER_S)


def tell(problem: ApiProblem) -> web.Response:
    """`{"error": …}`, or with 422 the fields that are wrong."""
    headers = errors.headers(problem)
    if isinstance(problem, Unprocessable):
        return json_answer(problem.by_field, problem.status, headers)
    detail = QUEUE_FULL if problem.code == "queue_full" else problem.detail
    return json_answer({"error": detail}, problem.status, headers)


def json_answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Of what is small."""
    return web.json_response(value, status=status, headers=headers)


async def large_answer(
    submissions: list[dict[str, object] | None], status: int = 200, meta: dict[str, object] | None = None
) -> web.Response:
    """One JSON object {"submissions": …} of those, in turns with others; `meta` stands beside them."""
    made = bytearray(b'{"submissions":[')
    for number, fields in enumerate(submissions):
        made += b"," if number else b""
        made += b"null" if fields is None else await responses.in_turns(fields.items())
    made += b"]" if meta is None else b'],"meta":' + json.dumps(meta).encode()
    made += b"}"
    return _body(made, status)


async def submission_answer(fields: dict[str, object], status: int = 200) -> web.Response:
    """One JSON object of a submission's fields, in turns with others where it is long."""
    if any(isinstance(value, str) and len(value) > responses.PIECE for value in fields.values()):
        return _body(await responses.in_turns(fields.items()), status)
    return _body(json.dumps(fields, ensure_ascii=False).encode(), status)


def _body(made: bytes | bytearray, status: int) -> web.Response:
    return web.Response(body=made, status=status, content_type="application/json", charset="utf-8")
