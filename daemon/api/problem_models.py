"""The wire models of /problems."""

import collections
from typing import Annotated

import pydantic

from daemon.grading.packages.problem import ProblemType
from daemon.grading.packages.store import Listed, Stored
from daemon.grading.packages.time_limit import LimitSource
from daemon.grading.problems import Bounds, cuts_of, limits_of, not_run_here
from daemon.toolchain.registry import Registry

from .models import Code, Count, Files, LanguageName, Sentence, Strict, Word, field, told

MB, KB = 1 << 20, 1 << 10


Hash = Annotated[str, told(minLength=64, maxLength=64, pattern="^[0-9a-f]{64}$")]
SourceName = Annotated[str, pydantic.StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Name = Annotated[str, told(maxLength=1024)]
FEW = {"x-unbounded": "as many as the package has"}


class ProblemGradeRequest(Strict):
    """A submission for a stored problem, whose package has limits, tests and checker."""

    code: Code = field(
        "The submission's source, in UTF-8 at most $code_bytes_max bytes, or fewer where the package says so."
    )
    language: LanguageName = field("Id or alias of its language, in any case.")
    files: Files = field("Files beside the source, of at most $files_bytes_max bytes together.", [])
    name: SourceName | None = field(
        "What the source's file is called, such as `guess.py`: for problems whose package has a main file of its own,"
        " which imports it.",
        None,
    )
    stop_on_failure: bool = field(
        "Whether tests after the first that is not accepted are left out (SK), where the package's own groups do not"
        " say it (2025-09).",
        False,
    )


class ProblemLimits(pydantic.BaseModel):
    """Limits of each test."""

    cpu_time: float = field("Seconds of CPU time.", exclusiveMinimum=0, maximum="$grade_timeout_s_max")
    cpu_time_source: LimitSource = field(
        "`package` says it, or `computed`: from the accepted submissions, on this host; `default`: none could be run."
    )
    wall_time: float = field("Seconds of wall time.", exclusiveMinimum=0, maximum="$grade_timeout_s_max")
    memory_mb: int = field("Megabytes (2^20 bytes) of memory.", minimum=1, maximum="$grade_memory_mb_max")
    output_kb: int = field("Kilobytes (1024 bytes) of output.", minimum=0, maximum="$grade_output_kb_max")
    passes: Count = field("How often a multi-pass submission runs on a test at most; else 1.")


class ProblemGroup(pydantic.BaseModel):
    """A group of tests."""

    name: Name = field("Its path; empty for the group of all groups.")
    tests: Count = field("How many it has itself, without those of groups in it.")


class ExampleSubmission(pydantic.BaseModel):
    """A submission that comes with the package."""

    name: Name = field("Its path.")
    expected: list[Word] = field(
        "The verdicts that keep the promise of its folder; none where nothing is promised.", maxItems=9
    )


class ProblemEntry(pydantic.BaseModel):
    """A stored problem, without what is in it."""

    id: Word = field("What it is stored under.")
    version: Hash = field("SHA-256 of its zip, in hexadecimal digits.")
    stored_at: float = field("When it was stored, in seconds since 1970.", minimum=0, **{"x-unbounded": "a time"})
    disk_bytes: Count = field("Bytes that it takes on the disk, unpacked.")


class ProblemSummary(ProblemEntry):
    """A stored problem."""

    name: Name = field("Its title: the English one, where there are several.")
    types: list[ProblemType] = field("What kind of problem it is.", maxItems=4)
    format: Word = field("Version of the package format that it says it has.")
    languages: list[Word] | None = field("The format's codes of allowed languages; null allows all.", **FEW)
    limits: ProblemLimits = field("Of each test, as this deployment grants them.")
    tests: Count = field("How many tests there are.")
    groups: list[ProblemGroup] = field("Its groups of tests.", **FEW)
    submissions: list[ExampleSubmission] = field("Its example submissions.", **FEW)
    cannot: list[Sentence] = field("A sentence for each of its programs that there is no toolchain for here.", **FEW)
    warnings: list[Sentence] = field("What is odd, and each limit that is cut to what is allowed here.", **FEW)


class ProblemList(pydantic.BaseModel):
    """The stored problems."""

    problems: list[ProblemEntry] = field("Sorted by id.", maxItems="$problems_max")


def summary_of(stored: Stored, bounds: Bounds, toolchains: Registry) -> ProblemSummary:
    """What is said of a stored problem; its limits are what this deployment grants."""
    problem = stored.problem
    limits, output_bytes = limits_of(problem, stored.time_limit.seconds, bounds)
    assert limits.cpu_ns is not None
    tests = collections.Counter(case.group for case in problem.cases)
    names = dict(problem.names)
    return ProblemSummary(
        id=stored.id,
        version=stored.version,
        stored_at=stored.stored_at,
        disk_bytes=stored.disk_bytes,
        name=names.get("en") or next(iter(names.values()), stored.id),
        types=list(problem.types),
        format=problem.declared_version,
        languages=None if problem.languages is None else list(problem.languages),
        limits=ProblemLimits(
            cpu_time=limits.cpu_ns / 1e9,
            cpu_time_source=stored.time_limit.source,
            wall_time=limits.wall_ns / 1e9,
            memory_mb=limits.memory_bytes // MB,
            output_kb=output_bytes // KB,
            passes=problem.limits.passes_max if problem.is_multi_pass else 1,
        ),
        tests=len(problem.cases),
        groups=[ProblemGroup(name=group.name, tests=tests[group.name]) for group in problem.groups],
        submissions=[
            ExampleSubmission(name=one.name, expected=list(one.expected.verdicts)) for one in problem.submissions
        ],
        cannot=list(not_run_here(problem, toolchains)),
        warnings=[*problem.warnings, *cuts_of(problem, stored.time_limit.seconds, bounds)],
    )


def list_of(problems: tuple[Listed, ...]) -> ProblemList:
    """The answer of GET /problems."""
    return ProblemList(
        problems=[
            ProblemEntry(id=one.id, version=one.version, stored_at=one.stored_at, disk_bytes=one.disk_bytes)
            for one in problems
        ]
    )
