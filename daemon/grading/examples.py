"""A package's example submissions, each graded: which of them did not get the verdict that its folder promises."""

import asyncio
import contextlib
import dataclasses
import math
import os
import pathlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from daemon.judge.submission import Submission
from daemon.sandbox.threads import to_the_end
from daemon.toolchain.registry import Registry, UnknownLanguage

from .checking import CheckerFailed
from .grader import Grader
from .packages.archive import ArchiveLimits
from .packages.expectations import ACCEPTED, PARTIAL
from .packages.folder import zip_folder
from .packages.problem import Bound, Expected, Program
from .packages.problem import Submission as Example
from .packages.reading import Package, ReadingLimits, read_package
from .packages.refusal import PackageRefused
from .packages.time_limit import DEFAULT_S, LimitSource, TimeLimit, from_slowest
from .problems import Bounds, limits_of, task_of
from .programs import CannotGrade, CannotRun, program_of
from .promises import kept_on, may_be_kept
from .schedules import Listed, Schedule
from .task import GradeResult, TestResult, cpu_s_max
from .verdicts import Verdict

Admitted = Callable[[], AbstractAsyncContextManager[object]]
OnTest = Callable[[str, TestResult], None]  # name of a submission and the result of one of its tests


TO_BE_ACCEPTED = Expected((Verdict.AC.value,), False, None, "folder", ())


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """`limit` follows from the accepted submissions that are accepted here; `failed` says what the others got."""

    limit: TimeLimit
    failed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Graded:
    """Of one submission. `expected` None: nothing is promised of it. `result` None: there is no toolchain for it, as
    `skipped` says. `remarks`: a sentence for each thing that breaks no promise and may still be a mistake. `kept_on`:
    the test that keeps the promise where the final verdict does not (promises.py)."""

    name: str
    expected: Expected | None
    result: GradeResult | None
    skipped: str | None = None
    remarks: tuple[str, ...] = ()
    kept_on: str | None = None

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Those that keep the promise, none where nothing is promised."""
        return () if self.expected is None else self.expected.verdicts

    @property
    def is_as_promised(self) -> bool:
        """True also where nothing was promised, or it could not be run."""
        if self.result is None or not self.verdicts:
            return True
        is_promised = self.result.verdict.value in self.verdicts or self.kept_on is not None
        return is_promised and self._has_its_score(self.result.score)

    def _has_its_score(self, score: float | None) -> bool:
        """As submissions.yaml or @EXPECTED_SCORE@ says; a few digits of a sum may be rounded."""
        promised = None if self.expected is None else self.expected.score
        if promised is None or score is None:
            return True
        low, high = promised
        return low <= score <= high or any(math.isclose(score, end, abs_tol=1e-6) for end in promised)

    @property
    def got(self) -> str:
        """The verdict, and the test that it comes from; or why there is none."""
        if self.result is None:
            return f"not run: {self.skipped}" if self.skipped else "not run"
        verdict = self.result.verdict
        if not self._has_its_score(self.result.score):
            return f"{verdict.value} with the score {self.result.score:g}"
        failed = next((test for test in self.result.tests if test.verdict is verdict), None)
        return verdict.value if failed is None or verdict is Verdict.AC else f"{verdict} on {failed.id}"


@contextlib.asynccontextmanager
async def unpacked(path: pathlib.Path, within: pathlib.Path | None = None) -> AsyncIterator[Package]:
    """A package from a zip or a folder, whose links may lead to what is below `within`, by default itself.

    Raises PackageRefused, PackageTooLarge, CannotRead, OSError.
    """
    limits = ReadingLimits(ArchiveLimits())
    archive, left_out = await asyncio.to_thread(_archive, path, limits.archive, within)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, archive)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cellblock-grade-"))
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        problem = await read_package(archive, directory, limits)
        warnings = tuple(f"{name}: is left out: {reason}" for name, reason in left_out)
        yield Package(dataclasses.replace(problem, warnings=(*warnings, *problem.warnings)), directory)


class Examples:
    """Grades the submissions of one package, one after the other, each inside of what `admitted` gives."""

    def __init__(
        self, package: Package, grader: Grader, toolchains: Registry, bounds: Bounds, on_test: OnTest | None = None,
        admitted: Admitted = contextlib.nullcontext, client: str = "",
    ) -> None:  # fmt: skip
        self._package, self._grader, self._toolchains, self._bounds = package, grader, toolchains, bounds
        self._on_test, self._admitted, self._client = on_test, admitted, client

    async def timing(self, most_s: float | None = None) -> Timing:
        """The time limit that the package says, or what follows from its accepted submissions here.

        Raises PackageRefused where they take more than `most_s` seconds of wall time together, without the time in
        which they wait to be admitted; and what `grade` raises.
        """
        timing = self._package.problem.timing
        if timing.limit_s is not None:
            return Timing(TimeLimit(timing.limit_s, LimitSource.PACKAGE))
        longest_s = cpu_s_max(self._bounds.maximum.wall_ns)
        slowest_ns, left_s, failed = 0, most_s, []
        clock = asyncio.get_running_loop().time
        for submission in self._package.problem.submissions:
            if not _is_for_the_limit(submission):
                continue
            async with self._admitted():
                began_s = clock()
                try:
                    async with asyncio.timeout(left_s):
                        graded = await self.grade(submission.name, submission.program, TO_BE_ACCEPTED, longest_s)
                except TimeoutError:
                    raise PackageRefused(f"the accepted submissions take more than {most_s:g} seconds here") from None
                left_s = None if left_s is None else left_s - (clock() - began_s)
            if graded.result is None:
                continue
            if graded.is_as_promised:
                slowest_ns = max(slowest_ns, graded.result.cpu_ns_max or 0)
            else:
                failed.append(f"submissions/{graded.name} gets {graded.got} here")
        if slowest_ns == 0:
            return Timing(TimeLimit(DEFAULT_S, LimitSource.DEFAULT), tuple(failed))
        seconds = from_slowest(timing, slowest_ns / 1e9)  # it may be more than is allowed here, as any other limit
        return Timing(TimeLimit(seconds, LimitSource.COMPUTED), tuple(failed))

    async def run(self, cpu_s: float) -> AsyncIterator[Graded]:
        """Each example submission, in the order of their names."""
        for submission in self._package.problem.submissions:
            graded = await self.grade(submission.name, submission.program, submission.expected, cpu_s)
            graded = dataclasses.replace(graded, remarks=self._remarks(graded, submission.folder))
            yield graded if graded.is_as_promised else await self._on_all_tests(graded, submission.program, cpu_s)

    async def _on_all_tests(self, graded: Graded, program: Program, cpu_s: float) -> Graded:
        """The same, with the test that keeps the promise, where one does; tests that were skipped are run for that."""
        result, expected = graded.result, graded.expected
        assert result is not None and expected is not None
        if not may_be_kept(expected, result.verdict, _verdicts(result)):
            return graded
        written = await to_the_end(program_of, program, self._package.open, self._toolchains, self._package.problem)
        schedule = Listed([case.name for case in self._package.problem.cases], stop_on_failure=False)
        found = _verdicts(await self.grade_source(graded.name, written, cpu_s, schedule))
        name = kept_on(expected, found)
        if name is None:
            return graded
        remark = f"{found[name]} on {name}, as promised; an earlier test decides the verdict"
        return dataclasses.replace(graded, kept_on=name, remarks=(*graded.remarks, remark))

    def _remarks(self, graded: Graded, folder: str) -> tuple[str, ...]:
        """Of accepted ones, whether folder and score agree; as in problemtools they are warnings."""
        best, result = self._package.problem.best_score, graded.result
        if result is None or result.verdict is not Verdict.AC:
            return ()
        is_full = not self._package.problem.is_scoring or result.score == best
        if graded.expected is not None and graded.expected.partial and is_full:
            return ("was fully accepted, although its folder says partially",)
        if folder == ACCEPTED and not is_full and best is not None:
            return (f"did not attain the full score, {best:g}; it may belong in {PARTIAL}",)
        return ()

    async def grade(self, name: str, program: Program, expected: Expected, cpu_s: float) -> Graded:
        """Raises CannotGrade, SandboxUnavailable, OSError."""
        try:
            written = await to_the_end(program_of, program, self._package.open, self._toolchains, self._package.problem)
            return Graded(name, expected, await self.grade_source(name, written, cpu_s))
        except (CannotRun, UnknownLanguage) as error:
            return Graded(name, expected, None, str(error).removeprefix(f"{program.path}: "))

    async def grade_source(
        self, name: str, written: Submission, cpu_s: float, schedule: Schedule | None = None
    ) -> GradeResult:
        """A submission in any of our languages; its limits are the package's, and so is the schedule where none is
        given. Raises as `grade` does."""
        problem = self._package.problem
        limits, output_bytes = limits_of(problem, cpu_s, self._bounds)
        submission = dataclasses.replace(written, limits=limits, output_bytes=output_bytes)
        task = await to_the_end(
            task_of, problem, self._package.open, submission, self._toolchains, self._bounds
        )  # fmt: skip
        task = dataclasses.replace(task, client=self._client, schedule=schedule or task.schedule)
        if self._on_test is not None:
            on_test = self._on_test
            task = dataclasses.replace(task, on_result=lambda result: on_test(name, result))
        try:
            return await self._grader.grade(task)
        except CheckerFailed as error:
            raise CannotGrade(str(error)) from None


def _is_for_the_limit(submission: Example) -> bool:
    """An accepted one, unless submissions.yaml says use_for_time_limit: false (2025-09, "Timelimit inference")."""
    rules = submission.expected.rules
    return submission.folder == ACCEPTED and (not rules or any(rule.bound is Bound.LOWER for rule in rules))


def _verdicts(result: GradeResult) -> dict[str, Verdict]:
    return {test.id: test.verdict for test in result.tests}


def _archive(
    path: pathlib.Path, limits: ArchiveLimits, within: pathlib.Path | None
) -> tuple[int, tuple[tuple[str, str], ...]]:
    if not path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), ()
    zipped = zip_folder(path, limits, within)
    return zipped.archive, zipped.left_out
