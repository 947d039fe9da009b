"""The wire models of POST /grade."""

from typing import Annotated, Literal

import pydantic

from daemon.grading.verdicts import Verdict

from .models import (
    Arguments,
    Code,
    Data,
    Diagnostics,
    Files,
    Integer,
    LanguageName,
    Measured,
    MemoryBytes,
    RequestId,
    Seconds,
    Sentence,
    Strict,
    Text,
    Version,
    Word,
    field,
    told,
)

TESTS_MAX = 1000
Tolerance = Annotated[
    float,
    pydantic.Field(ge=0, allow_inf_nan=False, json_schema_extra={"x-unbounded": "any finite number is a tolerance"}),
]
TestData = Annotated[Data, told(maxLength="$body_bytes_max")]
Id = Annotated[Text, pydantic.Field(min_length=1, max_length=100)]


class TestEntry(Strict):
    """A test: what the program reads, and what it is expected to print."""

    id: Id | None = field(
        "Names the test in the answer, differently from all others; null is its number, from 1.", None
    )
    input: TestData = field("What the program reads from standard input.", b"")
    expected: TestData = field("What the checker compares its output with.", b"")
    args: Arguments = field("The program's arguments, as in `POST /execute`.", [])


class ExactChecker(Strict):
    """Compares byte for byte."""

    kind: Literal["exact"] = field("All bytes.")


class LinesChecker(Strict):
    """Compares line by line."""

    kind: Literal["lines"] = field("All bytes but blanks at the ends of lines and empty lines at the end.")


class TokenChecker(Strict):
    """Compares token by token, as the ICPC default output validator does, with its options."""

    kind: Literal["tokens"] = field("Tokens are what blanks and newlines separate.")
    case_sensitive: bool = field("Whether upper and lower case differ.", False)
    space_change_sensitive: bool = field("Whether blanks and newlines count, too.", False)
    float_tolerance: Tolerance | None = field("Stands for both tolerances, relative and absolute; without unit.", None)
    float_relative_tolerance: Tolerance | None = field(
        "How far a number may be from the expected one, as a share of it, without unit.", None
    )
    float_absolute_tolerance: Tolerance | None = field(
        "How far a number may be from the expected one, in its own unit. Without any tolerance numbers are texts.", None
    )


class CustomChecker(Strict):
    """A program that judges, in a jail of its own, with limits of its own."""

    kind: Literal["custom"] = field("A program decides.")
    code: Code = field("The checker's source, in UTF-8 at most $code_bytes_max bytes.")
    language: LanguageName = field("Id or alias of the checker's language.")
    protocol: Literal["icpc", "testlib"] = field(
        "`icpc`: arguments input, answer and feedback folder, the output on standard input, exit code 42 accepts and 43"
        " rejects. `testlib`: arguments input, output, answer and report; exit code 0 accepts, 1, 2, 4 and 8 reject.",
        "icpc",
    )
    flags: Arguments = field("Arguments that follow those of the protocol.", [])
    files: Files = field("Files beside the checker's source.", [])


Checker = Annotated[ExactChecker | LinesChecker | TokenChecker | CustomChecker, pydantic.Field(discriminator="kind")]


class GradeLimits(Strict):
    """Limits of each test. CPU time decides, wall time is the backstop. A default that is above the most that the
    client may have is lowered to it."""

    cpu_time: Seconds = field("Seconds of CPU time, children and threads counted.", 2.0, maximum="$grade_timeout_s_max")
    wall_time: Seconds | None = field(
        "Seconds of wall time; null is three times the CPU time and 2 s.", None, maximum="$grade_timeout_s_max"
    )
    memory_mb: Integer = field(
        "Megabytes (2^20 bytes) of memory, stack included.", 256, minimum=1, maximum="$grade_memory_mb_max"
    )
    output_kb: Integer = field(
        "Kilobytes (1024 bytes) of stdout and stderr together.", 16384, minimum=1, maximum="$grade_output_kb_max"
    )
    processes: Integer | None = field(
        "Processes and threads at once; null is the most, $processes. A runtime that needs more has them.",
        None,
        minimum=1,
        maximum="$processes",
    )


class GradeRequest(Strict):
    """A submission and the tests that judge it."""

    code: Code = field("The submission's source, in UTF-8 at most $code_bytes_max bytes.")
    language: LanguageName = field("Id or alias of its language, in any case.")
    tests: Annotated[list[TestEntry], pydantic.FailFast()] = pydantic.Field(
        description="The tests, in the order of the answer.", min_length=1, max_length=TESTS_MAX
    )
    checker: Annotated[
        ExactChecker | LinesChecker | TokenChecker | CustomChecker, pydantic.Field(discriminator="kind")
    ] = field("Who compares output with what is expected.", TokenChecker(kind="tokens"))
    limits: GradeLimits = field("Limits of each test.", GradeLimits())
    stop_on_failure: bool = field("Whether tests after the first that is not accepted are left out (SK).", False)
    files: Files = field("Files beside the source, of at most $files_bytes_max bytes together.", [])


Score = Annotated[float, told(**{"x-unbounded": "the package decides"})]


class Compilation(pydantic.BaseModel):
    """Of the submission."""

    success: bool = field("Whether there is a program to run; else the verdict is CE.")
    time: Measured = field("Seconds that compiling took.")
    cached: bool = field("Whether the program had been compiled before, and was kept.")
    error: Diagnostics | None = field("What the compiler said where it failed; else null.")


class TestAnswer(pydantic.BaseModel):
    """Result of one test."""

    id: str = field("Names the test.", maxLength=1024)
    verdict: Verdict = field("`AC` is accepted, `SK` was not run, `IE` is a failure of the judge.")
    reason: Sentence | None = field(
        "Why: `cpu` or `wall` for TLE, `memory`, `output`, `exit code 3`, `signal 11 (SIGSEGV)`; null for AC and WA."
    )
    cpu_time: Measured | None = field("Seconds of CPU time; null where it was not run.")
    wall_time: Measured | None = field("Seconds of wall time; null where it was not run.")
    memory_bytes: MemoryBytes | None = field("The most bytes of memory at once; null where unknown.")
    checker_message: Sentence = field("What the checker says, such as the first difference; else empty.")
    score: Score | None = field("Points of this test; null where the problem has none.")


class ProblemVersion(pydantic.BaseModel):
    """Which stored package the tests are of."""

    id: Word = field("The problem's id.")
    version: Word = field("SHA-256 of its zip, in hexadecimal digits.")


class GradeResponse(pydantic.BaseModel):
    """What became of a submission."""

    verdict: Verdict = field("The first verdict that is not AC; IE wherever it stands, CE where it did not compile.")
    score: Score | None = field("Points; null where the problem has none.")
    compile: Compilation = field("What became of compiling.")
    tests: list[TestAnswer] = field(
        "Result of each test, in their order.", **{"x-unbounded": "as many as the request or the package has tests"}
    )
    cpu_time_max: Measured | None = field("Seconds of CPU time of the test that took most; null where none was run.")
    memory_bytes_max: MemoryBytes | None = field("Bytes of memory of the test that took most; null where unknown.")
    language: Word = field("Id of the language.")
    version: Version | None = field("Version of the compiler or interpreter; null while it is not known yet.")
    problem: ProblemVersion | None = field("The stored problem; null where the tests came with the request.")
    problems: list[Sentence] = field(
        "Sentences for judges: what the package or its programs did against their format.",
        **{"x-unbounded": "at most a few for each test"},
    )
    request_id: RequestId = field(
        "Names this answer: the request's `X-Request-Id` where it has a valid one, else 32 digits of our own."
    )
