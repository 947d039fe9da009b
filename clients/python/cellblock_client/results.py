"""What a server answers, as frozen dataclasses. Times are seconds; docs/api.md and the server's /docs tell more."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal


@dataclasses.dataclass(frozen=True, slots=True)
class ForbiddenConstruct:
    """A construct that input validation found, where the server only reports."""

    line: int
    found: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a program. `reason` is exited, signal, time_limit, cpu_limit, memory_limit, output_limit or
    compile_error; `error` is what a person reads first, None on success. None elsewhere: it is not known, or was not.
    """

    output: str
    error: str | None
    execution_time: float
    success: bool
    stdout: str
    stderr: str
    exit_code: int | None
    signal: str | None
    reason: str
    cpu_time: float | None
    wall_time: float
    compile_time: float
    memory_bytes: int | None
    truncated: bool
    cached: bool
    language: str
    version: str | None
    request_id: str
    output_base64: str | None = None
    stderr_base64: str | None = None
    warnings: tuple[ForbiddenConstruct, ...] | None = None

    @property
    def stdout_bytes(self) -> bytes:
        """Exactly what the program wrote, where the request had `binary`; else U+FFFD stands for what is not UTF-8."""
        return self.stdout.encode() if self.output_base64 is None else base64.b64decode(self.output_base64)

    @property
    def stderr_bytes(self) -> bytes:
        """Likewise."""
        return self.stderr.encode() if self.stderr_base64 is None else base64.b64decode(self.stderr_base64)


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """An event: a step of the language begins, such as `compile` or `run`."""

    stage: str


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """An event: the next piece of output. No character is cut in two."""

    stream: Literal["stdout", "stderr"]
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Compilation:
    """Of a graded submission. `error` is what the compiler said where it failed."""

    success: bool
    time: float
    cached: bool
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class TestResult:
    """Of one test. `verdict` is AC, WA, TLE, MLE, OLE, RE, SK (not run) or IE (a failure of the judge)."""

    __test__: ClassVar = False  # for pytest, which takes classes of such names for its own

    id: str
    verdict: str
    reason: str | None
    cpu_time: float | None
    wall_time: float | None
    memory_bytes: int | None
    checker_message: str
    score: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemVersion:
    """Which stored package the tests are of; `version` is the SHA-256 of its zip."""

    id: str
    version: str


@dataclasses.dataclass(frozen=True, slots=True)
class GradeResult:
    """What became of a submission. `verdict` is the first that is not AC; IE wherever it stands, CE where it did not
    compile."""

    verdict: str
    score: float | None
    compile: Compilation
    tests: tuple[TestResult, ...]
    cpu_time_max: float | None
    memory_bytes_max: int | None
    language: str
    version: str | None
    problem: ProblemVersion | None
    problems: tuple[str, ...]
    request_id: str


RunEvent = Stage | Output | RunResult
GradeEvent = TestResult | GradeResult


@dataclasses.dataclass(frozen=True, slots=True)
class DefaultLimits:
    """Of a run that says nothing. `timeout` is wall time in seconds, `memory_mb` counts 2^20 bytes."""

    timeout: float
    memory_mb: int
    processes: int
    output_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Language:
    """A language of the server. Extensions have no dot."""

    id: str
    title: str
    aliases: tuple[str, ...]
    extensions: tuple[str, ...]
    version: str | None
    compiles: bool
    start_charged: bool
    default_limits: DefaultLimits


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """Whether programs run. `problems` tells by language or part what is wrong, `details` the rest of the answer: both
    are empty for whose token may not watch."""

    status: str
    version: str
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Whether a program of every language ran lately."""
        return self.status == "healthy"


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemEntry:
    """A stored problem. `stored_at` is seconds since 1970; `version` is the SHA-256 of its zip."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemLimits:
    """Of each test: seconds, MB of 2^20 and KB of 2^10 bytes. `cpu_time_source` is package, computed or default."""

    cpu_time: float
    cpu_time_source: str
    wall_time: float
    memory_mb: int
    output_kb: int
    passes: int


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemGroup:
    """A group of tests, by its path; `tests` are those that are in no group inside it."""

    name: str
    tests: int


@dataclasses.dataclass(frozen=True, slots=True)
class ExampleSubmission:
    """One that comes with the package, and the verdicts that keep its folder's promise."""

    name: str
    expected: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemSummary:
    """What a stored problem is. `warnings` and `cannot` are sentences for who made the package."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int
    name: str
    types: tuple[str, ...]
    format: str
    languages: tuple[str, ...] | None
    limits: ProblemLimits
    tests: int
    groups: tuple[ProblemGroup, ...]
    submissions: tuple[ExampleSubmission, ...]
    cannot: tuple[str, ...]
    warnings: tuple[str, ...]
