"""Every endpoint: what it takes, what it answers, which errors it has. The document of the API is made from this table.

A test compares it with the routes. Texts are CommonMark of one paragraph; `$name` is a figure (figures.py).
"""

import dataclasses

import pydantic

from . import playground
from .fact_models import Document, Health, Index, Languages, Live, Ready
from .grade_models import GradeRequest, GradeResponse, TestAnswer
from .models import ExecuteRequest, ExecuteResponse, OutputEvent, StageEvent
from .problem_models import ProblemGradeRequest, ProblemList, ProblemSummary

Model = type[pydantic.BaseModel]
JSON, ZIP, HTML, METRICS = "application/json", "application/zip", "text/html", "text/plain"

BODY_ERRORS = (
    "invalid_json", "invalid_request", "request_timeout", "code_too_long", "files_too_long", "body_too_large",
    "unsupported_media_type", "parser_unavailable",
)  # fmt: skip
RUN_ERRORS = ("unsupported_language", "dangerous_operation", "over_share", "queue_full", "sandbox_unavailable")
STORE_ERRORS = ("invalid_problem_id", "no_such_problem", "problems_unavailable")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One that is no error. `model` None has no body, or one that is not JSON. `events` come where an event stream is
    accepted: by name the model of their data. `others` are media types that it may have in place of its own."""

    status: int
    description: str
    model: Model | None = None
    media_type: str | None = JSON
    has_etag: bool = False
    events: tuple[tuple[str, Model], ...] = ()
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """`path` as aiohttp and OpenAPI write it. `takes` is the body's model or media type; `codes` are of error_codes.py,
    besides internal_error, which every operation has."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    answers: tuple[Answer, ...]
    codes: tuple[str, ...] = ()
    takes: Model | str | None = None

    @property
    def has_etag(self) -> bool:
        """Whether a request may say which version it has."""
        return any(answer.status == 304 for answer in self.answers)


TAGS = {
    "run": "Run a program.",
    "grade": "Judge a submission.",
    "problems": "Stored problem packages. There are no users here: let only your own contest system reach them.",
    "server": "What this server is, and how it is.",
}
NOT_CHANGED = Answer(304, "It is what If-None-Match names.", None, None, has_etag=True)
TEST_EVENTS = (("test", TestAnswer), ("result", GradeResponse))

OPERATIONS = (
    Operation(
        "execute", "POST", "/execute", "run", "Run a program",
        "Runs a program in a jail of its own. A program that fails is no HTTP error: the answer is 200 and tells what "
        "became of it. At most $queue requests wait for a slot.",
        (Answer(200, "What became of the program.", ExecuteResponse, events=(
            ("stage", StageEvent), ("stdout", OutputEvent), ("stderr", OutputEvent), ("result", ExecuteResponse),
        )),),
        (*BODY_ERRORS, "stdin_too_long", *RUN_ERRORS), ExecuteRequest,
    ),
    Operation(
        "grade", "POST", "/grade", "grade", "Judge a program by tests",
        "Compiles a submission once, runs it on each test and judges it. CPU time decides, wall time is the backstop. "
        "A submission that is wrong is no HTTP error.",
        (Answer(200, "The verdicts.", GradeResponse, events=TEST_EVENTS),),
        (*BODY_ERRORS, *RUN_ERRORS), GradeRequest,
    ),
    Operation(
        "listProblems", "GET", "/problems", "problems", "The stored problems", "Lists them, without what is in them.",
        (Answer(200, "The problems.", ProblemList),), ("problems_unavailable",),
    ),
    Operation(
        "putProblem", "PUT", "/problems/{id}", "problems", "Store a problem package",
        "Takes a zip in ICPC or Kattis format (legacy, 2023-07, 2025-09) of at most $package_mb_max MB, which has "
        "$upload_s s to arrive. It is refused whole, or stored whole in place of what had this id; gradings under way "
        "are not changed. Where the package has no time limit, the answer waits until its accepted submissions have "
        "run here, $package_timing_s s at most.",
        (
            Answer(201, "It is stored.", ProblemSummary, has_etag=True),
            Answer(200, "It is stored, in place of another.", ProblemSummary, has_etag=True),
        ),
        (
            "invalid_problem_id", "invalid_package", "cannot_grade", "request_timeout", "body_too_large",
            "unsupported_media_type", "too_many_uploads", "over_share", "queue_full", "sandbox_unavailable",
            "problems_unavailable", "store_full",
        ),
        ZIP,
    ),
    Operation(
        "getProblem", "GET", "/problems/{id}", "problems", "What a stored problem is",
        "Its summary. The ETag is its version.",
        (Answer(200, "The problem.", ProblemSummary, has_etag=True), NOT_CHANGED), STORE_ERRORS,
    ),
    Operation(
        "deleteProblem", "DELETE", "/problems/{id}", "problems", "Forget a stored problem",
        "Gradings under way go on.", (Answer(204, "It is forgotten.", None, None),), STORE_ERRORS,
    ),
    Operation(
        "gradeByProblem", "POST", "/problems/{id}/grade", "grade", "Judge a program by a stored problem",
        "As `POST /grade`, with the tests, limits, checker and scoring of the version that is stored now.",
        (Answer(200, "The verdicts.", GradeResponse, events=TEST_EVENTS),),
        (*BODY_ERRORS, *RUN_ERRORS, *STORE_ERRORS, "cannot_grade", "above_token"), ProblemGradeRequest,
    ),
    Operation(
        "languages", "GET", "/languages", "server", "Languages with versions and default limits",
        "Every language that is installed here.", (Answer(200, "The languages.", Languages),),
    ),
    Operation(
        "health", "GET", "/health", "server", "Whether programs run",
        "Healthy only when a program of every language ran in a jail lately. Asking starts nothing.",
        (Answer(200, "Healthy.", Health), Answer(503, "Unhealthy; `problems` says why.", Health)),
    ),
    Operation(
        "live", "GET", "/health/live", "server", "Whether the server answers",
        "For supervisors: an answer is all that it tells.", (Answer(200, "It answers.", Live),),
    ),
    Operation(
        "ready", "GET", "/health/ready", "server", "Whether to send it requests",
        "For load balancers: as /health, and besides not ready once the server is being stopped.",
        (Answer(200, "Ready.", Ready),), ("not_ready",),
    ),
    Operation(
        "metrics", "GET", "/metrics", "server", "Counts and states for Prometheus",
        "Told to this host, and to tokens that may watch (the setting metrics).",
        (Answer(200, "In a text format of Prometheus.", None, METRICS),), ("forbidden",),
    ),
    Operation(
        "index", "GET", "/", "server", "Which endpoints there are",
        "Lists the endpoints. To whom prefers `text/html`, as browsers do, it is a page that runs programs.",
        (Answer(200, "The endpoints.", Index, others=(HTML,)), NOT_CHANGED),
    ),
    Operation(
        "playgroundFile", "GET", "/playground/{file}", "server", "A part of the page at /",
        "Scripts, style and icon of the page. Not there where the setting playground is false.",
        (Answer(200, "The file.", None, playground.SCRIPT, has_etag=True, others=(playground.STYLE, playground.ICON)),
         NOT_CHANGED),
        ("not_found",),
    ),
    Operation(
        "openapi", "GET", "/openapi.json", "server", "This description for programs",
        "OpenAPI 3.1, with the limits of this deployment.",
        (Answer(200, "The document.", Document, has_etag=True), NOT_CHANGED),
    ),
    Operation(
        "docs", "GET", "/docs", "server", "This description for people", "The same as a page that loads nothing else.",
        (Answer(200, "The page.", None, HTML, has_etag=True), NOT_CHANGED),
    ),
)  # fmt: skip


def endpoints() -> dict[str, str]:
    """By method and path what it is for, as `GET /` tells."""
    return {f"{one.method} {one.path}": one.summary for one in OPERATIONS}
