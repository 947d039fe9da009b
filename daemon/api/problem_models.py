"""The wire models of /problems."""

import collections

import pydantic

from daemon.grading.packages.problem import ProblemType
from daemon.grading.packages.store import Listed, Stored
from daemon.grading.packages.time_limit import LimitSource
from daemon.grading.problems import Bounds, cuts_of, limits_of, not_run_here
from daemon.toolchain.registry import Registry

from .models import FileEntry, Strict, Text

MB, KB = 1 << 20, 1 << 10


class ProblemGradeRequest(Strict):
    """POST /problems/{id}/grade. `stop_on_failure` counts where the package's own groups do not say it (2025-09)."""

    code: Text
    language: Text
    files: list[FileEntry] = pydantic.Field([], max_length=100)
    stop_on_failure: bool = False


class ProblemLimits(pydantic.BaseModel):
    """Of each test. `passes`: how often a multi-pass submission runs on a test at most."""

    cpu_time: float
    cpu_time_source: LimitSource
    wall_time: float
    memory_mb: int
    output_kb: int
    passes: int


class ProblemGroup(pydantic.BaseModel):
    """`tests`: how many it has itself, without the groups in it. "" is the group of all groups."""

    name: str
    tests: int


class ExampleSubmission(pydantic.BaseModel):
    """`expected`: the verdicts that keep the promise of its folder; none where nothing is promised."""

    name: str
    expected: list[str]


class ProblemSummary(pydantic.BaseModel):
    """`version`: SHA-256 of the zip. `stored_at`: seconds since 1970. `languages` null allows all; else the format's
    codes. `cannot`: a sentence for each program of the package that this deployment has no toolchain for. `warnings`:
    what is odd, and each limit that is cut to what this deployment allows."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int
    name: str
    types: list[ProblemType]
    format: str
    languages: list[str] | None
    limits: ProblemLimits
    tests: int
    groups: list[ProblemGroup]
    submissions: list[ExampleSubmission]
    cannot: list[str]
    warnings: list[str]


class ProblemEntry(pydantic.BaseModel):
    """Of the list, in the words of ProblemSummary."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int


class ProblemList(pydantic.BaseModel):
    """GET /problems, sorted by id."""

    problems: list[ProblemEntry]


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
