"""The wire models of POST /grade."""

from typing import Annotated, Literal

import pydantic

from daemon.grading.verdicts import Verdict

from .models import FileEntry, Seconds, Strict, Text

TESTS_MAX = 1000
Tolerance = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class TestEntry(Strict):
    """A test: what the program reads, and what it is expected to print."""

    id: Annotated[Text, pydantic.Field(max_length=100)] | None = pydantic.Field(
        None, description="its number when absent"
    )
    input: Text = ""
    expected: Text = ""
    args: list[Text] = pydantic.Field([])


class PlainChecker(Strict):
    """`exact`: byte for byte. `lines`: but for blanks at the ends of lines and empty lines at the end."""

    kind: Literal["exact", "lines"]


class TokenChecker(Strict):
    """The ICPC default output validator: token by token, with its options."""

    kind: Literal["tokens"] = "tokens"
    case_sensitive: bool = False
    space_change_sensitive: bool = False
    float_tolerance: Tolerance | None = None
    float_relative_tolerance: Tolerance | None = None
    float_absolute_tolerance: Tolerance | None = None


class CustomChecker(Strict):
    """A program that judges, in a jail of its own. `icpc`: arguments input, answer and feedback folder, output on
    stdin, exit 42 or 43. `testlib`: arguments input, output, answer and report."""

    kind: Literal["custom"]
    code: Text
    language: Text
    protocol: Literal["icpc", "testlib"] = "icpc"
    flags: list[Text] = pydantic.Field([])
    files: list[FileEntry] = pydantic.Field([], max_length=100)


class GradeLimits(Strict):
    """Of each test. CPU time decides, wall time is the backstop: where absent three times the CPU time and 2 s."""

    cpu_time: Seconds = 2.0
    wall_time: Seconds | None = None
    memory_mb: int = 256
    output_kb: int = 16384
    processes: int | None = None


class GradeRequest(Strict):
    """POST /grade."""

    code: Text
    language: Text
    tests: list[TestEntry] = pydantic.Field(min_length=1, max_length=TESTS_MAX)
    checker: Annotated[PlainChecker | TokenChecker | CustomChecker, pydantic.Field(discriminator="kind")] = (
        TokenChecker()
    )
    limits: GradeLimits = GradeLimits()
    stop_on_failure: bool = False
    files: list[FileEntry] = pydantic.Field([], max_length=100)


class Compilation(pydantic.BaseModel):
    """Of the submission. `error` has what the compiler said where it failed."""

    success: bool
    time: float
    cached: bool
    error: str | None


class TestAnswer(pydantic.BaseModel):
    """Of one test. Times in seconds; null where it was not run, or the kernel does not tell."""

    id: str
    verdict: Verdict
    reason: str | None
    cpu_time: float | None
    wall_time: float | None
    memory_bytes: int | None
    checker_message: str
    score: float | None


class ProblemVersion(pydantic.BaseModel):
    """Which stored package the tests are of."""

    id: str
    version: str


class GradeResponse(pydantic.BaseModel):
    """Of the submission: the first verdict that is not AC, IE wherever it stands. `version` is the toolchain's;
    `problem` is null where the tests came with the request; `problems` says what the package or its programs did
    against the format."""

    verdict: Verdict
    score: float | None
    compile: Compilation
    tests: list[TestAnswer]
    cpu_time_max: float | None
    memory_bytes_max: int | None
    language: str
    version: str | None
    problem: ProblemVersion | None
    problems: list[str]
    request_id: str
