"""What is graded and what came of it: a submission, its tests, their checker; the result of each test and of all."""

import dataclasses
import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import assert_never

from daemon.judge.files import File
from daemon.judge.submission import Report, Submission

from .schedules import Schedule
from .tokens import TokenOptions
from .verdicts import Verdict

WALL_FACTOR, WALL_MORE_S = 3, 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """Of one run on a test: descriptors of files that nobody writes to, and the files that lie beside the program.

    An `input` that is a sealed memfd is the program's standard input as a file, any other goes through a pipe.
    `feedback`: what the checker left in its folder in the pass before, packed.
    """

    input: int
    answer: int
    files: tuple[File, ...] = ()
    feedback: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Test:
    """`opened` gives its data while the test runs: of all tests of a task only those that run hold descriptors. It
    raises OSError and CellblockError. `checker` is asked instead of the task's, where the test has one.
    """

    id: str
    opened: Callable[[], AbstractAsyncContextManager[Data]]
    args: tuple[str, ...] = ()
    checker: "TokenOptions | None" = None
    flags: tuple[str, ...] | None = None  # of a checker of one's own, in place of its own


class Protocol(enum.StrEnum):
    """How a checker of one's own is asked and answers (checker.py)."""

    ICPC = "icpc"
    TESTLIB = "testlib"


@dataclasses.dataclass(frozen=True, slots=True)
class Custom:
    """A checker of one's own: a program in any toolchain's language, run in a jail of its own."""

    submission: Submission
    protocol: Protocol
    flags: tuple[str, ...] = ()


class Plain(enum.StrEnum):
    """Comparisons without options (compare.py)."""

    EXACT = "exact"
    LINES = "lines"


@dataclasses.dataclass(frozen=True, slots=True)
class AllOf:
    """Several checkers of one's own, each of which must accept (legacy, "Output validators")."""

    checkers: tuple[Custom, ...]


Checker = Plain | TokenOptions | Custom | AllOf


def programs_of(checker: Checker) -> tuple[Custom, ...]:
    """The checkers that are programs, in the order in which they are asked."""
    match checker:
        case Custom():
            return (checker,)
        case AllOf():
            return checker.checkers
        case Plain() | TokenOptions():
            return ()
        case _:
            assert_never(checker)


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """`submission.limits` and `submission.output_bytes` are for each test; CPU time decides, wall time is the backstop.

    The schedule decides which tests run, and what the verdict and the score are. Where the task is interactive the
    checker, a program of one's own, talks with the submission. `passes_max`: how often the submission runs on a test at
    most, each time on what the checker left for it (multi-pass). `on_result` hears each test's result once it and all
    before it are known, in the order of the tests. `group_grader` is the program that the schedule's calls ask for.
    `client` is whose it is: the tests of different clients are run in turn.
    """

    submission: Submission
    tests: tuple[Test, ...]
    checker: Checker
    schedule: Schedule
    is_interactive: bool = False
    passes_max: int = 1
    group_grader: Submission | None = None
    on_result: "Callable[[TestResult], None] | None" = None
    client: str = ""


def wall_ns(cpu_s: float, most_ns: int) -> int:
    """The backstop of a time limit that says nothing of wall time: sleeping is not computing, but it ends."""
    return min(int((WALL_FACTOR * cpu_s + WALL_MORE_S) * 1e9), most_ns)


def cpu_s_max(most_ns: int) -> float:
    """The longest time limit that wall time of at most so much can be the backstop of."""
    most_s = most_ns / 1e9
    return max(most_s - WALL_MORE_S, most_s / 2)


@dataclasses.dataclass(frozen=True, slots=True)
class TestResult:
    """Of one test. Times are ns, None where it was not run or the kernel does not tell. `reason` says why it is not
    accepted; `message` is the checker's, for judges; `score` is what the checker gave."""

    id: str
    verdict: Verdict
    reason: str | None = None
    message: str = ""
    cpu_ns: int | None = None
    wall_ns: int | None = None
    memory_bytes: int | None = None
    score: float | None = None
    multiplier: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class GradeResult:
    """`compilation` is what became of a program that was not built; the tests are SK then."""

    verdict: Verdict
    tests: tuple[TestResult, ...]
    score: float | None = None
    problems: tuple[str, ...] = ()  # what the package or its checker did against its format
    compile_ns: int = 0
    cached: bool = False
    compilation: Report | None = None

    @property
    def cpu_ns_max(self) -> int | None:
        """Of the slowest test."""
        return max((test.cpu_ns for test in self.tests if test.cpu_ns is not None), default=None)

    @property
    def memory_bytes_max(self) -> int | None:
        """Of the largest test."""
        return max((test.memory_bytes for test in self.tests if test.memory_bytes is not None), default=None)
