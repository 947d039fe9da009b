"""Every error that HTTP can answer, as application/problem+json (RFC 9457)."""

import uuid
from collections.abc import Callable
from typing import Annotated

import pydantic
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.grading.packages.refusal import BadProblemId, CannotRead, NoSuchProblem, PackageRefused, StoreFull
from daemon.grading.programs import CannotGrade
from daemon.sandbox.errors import CellblockError
from daemon.sandbox.order import BadOrder, SandboxUnavailable
from daemon.toolchain.registry import UnknownLanguage
from daemon.turns.line import Refusal
from daemon.turns.seats import Refused

from . import note as notes
from .models import Sentence, field, told
from .parser import CannotParse
from .parsing import ERRORS_MAX, FieldError, NotJson, NotTheModel

log = structlog.get_logger("cellblock.api")

CONTENT_TYPE = "application/problem+json"
TELL: web.RequestKey[Callable[["ApiProblem"], web.Response]] = web.RequestKey("tell")
RETRY_AFTER_S = 1


class ProblemDetails(pydantic.BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = field("A URN of the code: names the kind of error.", maxLength=100)
    title: str = field("The status in words.", maxLength=100)
    status: int = field("The status of the answer.", minimum=400, maximum=599)
    detail: Sentence = field("One text that can be shown to a person as it is.")
    code: str = field("What programs tell errors apart by.", enum="$codes")
    errors: Annotated[list[FieldError], told(maxItems=ERRORS_MAX)] | None = field(
        "The fields that are wrong; absent where it is none, or not one alone.", None
    )


class ApiProblem(CellblockError):
    """An answer that is not 200. `detail` is one readable sentence, because web clients show it as it is.

    `status` tells whose fault it is: 4xx the caller's, 5xx ours. `code` is what programs tell problems apart by.
    `challenge` is the value of WWW-Authenticate.
    """

    def __init__(
        self, status: int, code: str, detail: str, errors: tuple[FieldError, ...] = (),
        retry_after_s: int | None = None, challenge: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        self.retry_after_s, self.challenge = retry_after_s, challenge


TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Content too large",
    415: "Unsupported media type",
    417: "Expectation failed",
    421: "Misdirected request",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
    507: "Insufficient storage",
}


def body(problem: ApiProblem) -> str:
    """The problem as JSON. What it quotes may hold lone surrogates, which no JSON has: they stand as their escapes."""
    details = ProblemDetails(
        type=f"urn:cellblock:problem:{problem.code}",
        title=TITLES.get(problem.status, "Error"),
        status=problem.status,
        detail=_shown(problem.detail),
        code=problem.code,
        errors=[FieldError(_shown(one.field), _shown(one.message)) for one in problem.errors] or None,
    )
    return details.model_dump_json(exclude_none=True)


def _shown(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def of(error: Exception, request: web.BaseRequest) -> ApiProblem:
    """Any exception as a problem, which the request's note tells of.

    A defect becomes a 500 that shows an id, and a line in the log has everything.
    """
    problem = _of(error, request)
    notes.of(request).code = problem.code
    return problem


def _of(error: Exception, request: web.BaseRequest) -> ApiProblem:
    match error:
        case ApiProblem():
            return error
        case NotJson(detail=detail, errors=errors):
            return ApiProblem(400, "invalid_json", detail, errors)
        case NotTheModel(detail=detail, errors=errors):
            return ApiProblem(400, "invalid_request", detail, errors)
        case CannotParse():
            return ApiProblem(503, "parser_unavailable", str(error), retry_after_s=RETRY_AFTER_S)
        case Refused(refusal=refusal):
            status, code = (429, "over_share") if refusal is Refusal.OVER_SHARE else (503, "queue_full")
            return ApiProblem(status, code, str(error), retry_after_s=RETRY_AFTER_S)
        case UnknownLanguage():
            return ApiProblem(400, "unsupported_language", str(error), (FieldError("language", str(error)),))
        case BadProblemId():
            return ApiProblem(400, "invalid_problem_id", str(error))
        case PackageRefused():
            return ApiProblem(400, "invalid_package", str(error))
        case CannotGrade():
            return ApiProblem(400, "cannot_grade", f"This package cannot be graded here: {error}")
        case BadOrder():
            log.error("an order that was not sent", path=request.path, reason=str(error))
            return ApiProblem(400, "invalid_request", str(error))
        case NoSuchProblem():
            return ApiProblem(404, "no_such_problem", str(error))
        case StoreFull():
            return ApiProblem(507, "store_full", str(error))
        case CannotRead():
            log.error("store of problems", reason=str(error))
            return ApiProblem(503, "problems_unavailable", str(error), retry_after_s=RETRY_AFTER_S)
        case SandboxUnavailable():
            log.error("sandbox unavailable", stage=error.stage, reason=error.reason)
            detail = f"The sandbox cannot run programs right now ({error.stage})"
            return ApiProblem(503, "sandbox_unavailable", detail, retry_after_s=RETRY_AFTER_S)
        case _:
            incident = uuid.uuid4().hex
            log.error("defect", incident=incident, method=request.method, path=request.path, exc_info=error)
            return ApiProblem(500, "internal_error", f"Internal error; the log has it as {incident}")


def response(problem: ApiProblem) -> web.Response:
    """The problem as a response of its own, for a request that has had none yet."""
    headers = {} if problem.retry_after_s is None else {"Retry-After": str(problem.retry_after_s)}
    if problem.challenge is not None:
        headers["WWW-Authenticate"] = problem.challenge
    return web.Response(status=problem.status, text=body(problem), content_type=CONTENT_TYPE, headers=headers)


def of_aiohttp(error: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """aiohttp's own answer as a problem: the router's (no such path, not this method), or what is raised before any
    middleware (an Expect that is not 100-continue)."""
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status, "http_error")
    notes.of(request).code = code
    answer = response(ApiProblem(error.status, code, f"{error.reason}: {request.method} {request.path}"))
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Maps every exception of a handler to an answer. A handler that has begun its own response must not raise.

    Where the request has its own way to tell a problem, TELL, that makes the answer.
    """
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return of_aiohttp(error, request)
    except Exception as error:  # the one place: the client must get an answer, and the log the whole of it
        tell = request.get(TELL) or response
        return tell(of(error, request))
