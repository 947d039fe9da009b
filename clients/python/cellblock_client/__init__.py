"""A client of the cellblock HTTP API: `Client`, and `AsyncClient` for asyncio.

Results are frozen dataclasses with the names of the API's fields; times are seconds, sizes bytes. What a newer server
tells besides is passed over. A program that fails is a result; only a request that was not carried out is an exception,
a ClientError.
"""

from .async_client import AsyncClient
from .client import Client
from .errors import AccessDenied, ApiError, Busy, ClientError, ConnectionFailed, FieldError, InvalidRequest, NoAnswer
from .requests import Checker, GradeOptions, Limits, ProblemOptions, RunOptions, Test
from .results import (
    Compilation,
    DefaultLimits,
    ExampleSubmission,
    ForbiddenConstruct,
    GradeEvent,
    GradeResult,
    Health,
    Language,
    Output,
    ProblemEntry,
    ProblemGroup,
    ProblemLimits,
    ProblemSummary,
    ProblemVersion,
    RunEvent,
    RunResult,
    Stage,
    TestResult,
)
from .retries import Retries

__all__ = [
    "AccessDenied",
    "ApiError",
    "AsyncClient",
    "Busy",
    "Checker",
    "Client",
    "ClientError",
    "Compilation",
    "ConnectionFailed",
    "DefaultLimits",
    "ExampleSubmission",
    "FieldError",
    "ForbiddenConstruct",
    "GradeEvent",
    "GradeOptions",
    "GradeResult",
    "Health",
    "InvalidRequest",
    "Language",
    "Limits",
    "NoAnswer",
    "Output",
    "ProblemEntry",
    "ProblemGroup",
    "ProblemLimits",
    "ProblemOptions",
    "ProblemSummary",
    "ProblemVersion",
    "Retries",
    "RunEvent",
    "RunOptions",
    "RunResult",
    "Stage",
    "Test",
    "TestResult",
]
