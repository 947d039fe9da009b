"""Runs a submission on its tests: compiled once, as many tests at once as there are cores, results in their order."""

import asyncio
import contextlib
import dataclasses
import itertools
import os
from collections.abc import AsyncIterator

import structlog

from daemon.judge.executor import Built, Executor
from daemon.judge.files import pack
from daemon.judge.submission import Report, Submission
from daemon.sandbox.client import GRADED_ACQUIRE_S, Client
from daemon.sandbox.descriptors import is_sealed
from daemon.sandbox.errors import CallersFault, CellblockError
from daemon.sandbox.order import Finished, Order, SandboxUnavailable
from daemon.sandbox.threads import to_the_end
from daemon.toolchain.plan import graded_limits
from daemon.turns.seats import Seats

from . import checking, verdicts
from .checking import CheckerFailed, CheckerHangs
from .group_grader import GroupGrader
from .interaction import talk
from .run_facts import facts_of
from .scoring import GraderCall, Progress, Result
from .task import AllOf, Checker, Custom, Data, GradeResult, Task, Test, TestResult, programs_of
from .verdicts import Verdict

log = structlog.get_logger("cellblock.grading")

_Outcome = tuple[Finished, verdicts.Judgement, checking.Answer | None]

ATTEMPTS = 2  # our own failure is repeated once
SCHEDULE_PAUSE = 20  # times what the schedule took, of all tests anew, before it is asked again
AHEAD = 1  # tests whose jail is ready when a core gets free


class Grader:
    """Grades through one executor. Any number of tasks may be under way; the keeper gives each run a core in turn.

    Of all tasks together `tests_max` tests run at the same time, which bounds the jails that they ask for. Others wait,
    and their seats are divided evenly among clients (turns/line.py), so that a large grading starves nobody's.
    """

    def __init__(self, executor: Executor, client: Client, tests_max: int) -> None:
        self._executor, self._client = executor, client
        self._seats = Seats(tests_max)

    async def grade(self, task: Task) -> GradeResult:
        """Raises SandboxUnavailable where the submission or the checker could not be built for a reason of ours, and
        CheckerFailed for a checker that does not compile. Cancelling it ends every run."""
        async with contextlib.AsyncExitStack() as stack:
            checkers = [await self._judge(stack, _own(one.submission, task)) for one in programs_of(task.checker)]
            group_grader = None
            if task.group_grader is not None:
                built_grader = await self._judge(stack, _own(task.group_grader, task))
                group_grader = GroupGrader(self._executor, task.group_grader, built_grader)
            built = await stack.enter_async_context(self._executor.built(_own(task.submission, task)))
            if isinstance(built, Report):
                return _not_built(task, built)
            judges = _Judges(tuple(checkers), group_grader)
            at_once = self._at_once()
            return await _Grading(self._executor, self._client, task, built, judges, at_once, self._seats).run()

    async def check(self, judge: Submission, client: str) -> None:
        """Compiles it for `client`. Raises CheckerFailed for one that does not compile, SandboxUnavailable."""
        async with contextlib.AsyncExitStack() as stack:
            await self._judge(stack, dataclasses.replace(judge, client=client))

    async def _judge(self, stack: contextlib.AsyncExitStack, judge: Submission) -> Built:
        found = await stack.enter_async_context(self._executor.built(judge))
        if isinstance(found, Report):
            raise CheckerFailed(f"the checker does not compile: {found.error}")
        return found

    def _at_once(self) -> int:
        facts = self._client.facts
        return AHEAD + (len(facts.cores) if facts is not None else 1)


def _own(program: Submission, task: Task) -> Submission:
    """A program of the task as one of its client's: whoever grades answers for what judges, too."""
    return dataclasses.replace(program, client=task.client, sharing=task.submission.sharing)


@dataclasses.dataclass(frozen=True, slots=True)
class _Judges:
    """The programs of a task that judge, as they were built."""

    checkers: tuple[Built, ...]
    group_grader: GroupGrader | None


class _Grading:
    """One task under way."""

    def __init__(
        self, executor: Executor, client: Client, task: Task, built: Built, judges: _Judges, at_once: int,
        seats: Seats,
    ) -> None:  # fmt: skip
        self._executor, self._client = executor, client
        self._task, self._built, self._judges = task, built, judges
        self._at_once, self._seats = at_once, seats
        self._tests = {test.id: test for test in task.tests}
        self._known: dict[str, TestResult] = {}
        self._heard: dict[str, Result] = {}  # what the schedule hears: of tests, and of groups that were graded
        self._problems: list[str] = []
        self._hangs: str | None = None  # what a checker did that took all of its time
        self._names, self._told = list(self._tests), list[TestResult]()

    async def run(self) -> GradeResult:
        running: dict[str, asyncio.Task[TestResult]] = {}
        clock = asyncio.get_running_loop().time
        try:
            while True:
                asked_s = clock()
                progress = self._task.schedule.progress(self._heard)
                if progress.outcome is not None:
                    break
                self._tell(progress)
                if progress.to_grade:
                    await self._grade_group(progress.to_grade[0])
                    continue
                may_run = set(progress.may_run)
                await _cancel([running.pop(name) for name in list(running) if name not in may_run])
                await self._go_on(progress.may_run, running, clock() + SCHEDULE_PAUSE * (clock() - asked_s))
        finally:
            await _cancel(list(running.values()))
        results = self._tell(progress)
        built, outcome = self._built, progress.outcome
        problems = (*self._problems, *progress.problems)
        return GradeResult(outcome.verdict, results, outcome.score, problems, built.compile_ns, built.cached)

    async def _go_on(
        self, may_run: tuple[str, ...], running: dict[str, asyncio.Task[TestResult]], until_s: float
    ) -> None:
        """Run tests until the schedule is to hear of results: some are known, and it is time or no test is left."""
        names = (name for name in may_run if name not in running and name not in self._known)
        clock, is_news = asyncio.get_running_loop().time, False
        while not (is_news and clock() >= until_s):
            for name in itertools.islice(names, self._at_once - len(running)):
                running[name] = asyncio.create_task(self._test(self._tests[name]))
            if is_news and len(running) < self._at_once:
                return
            if not running:
                raise AssertionError("a schedule that neither ends nor goes on")
            left_s = max(0.0, until_s - clock()) if is_news else None
            await asyncio.wait(running.values(), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for name in [name for name, one in running.items() if one.done()]:
                self._known[name] = result = running.pop(name).result()
                self._heard[name] = Result(result.verdict, result.score, result.multiplier)
                is_news = True

    async def _grade_group(self, call: GraderCall) -> None:
        """Tests that are running go on meanwhile. A grader without an answer makes its group IE."""
        assert self._judges.group_grader is not None
        try:
            self._heard[call.group] = await self._judges.group_grader.grade(call)
        except CheckerFailed as error:
            self._problems.append(f"{call.group or 'data'}: {error}")
            self._heard[call.group] = Result(Verdict.IE)

    def _tell(self, progress: Progress) -> tuple[TestResult, ...]:
        """The results that will not change, in order; those that are new are told."""
        for name in self._names[len(self._told) :]:
            if name not in progress.results:
                break
            self._told.append(_as_scheduled(name, progress, self._known.get(name)))
            if self._task.on_result is not None:
                self._task.on_result(self._told[-1])
        return tuple(self._told)

    async def _test(self, test: Test) -> TestResult:
        """A failure of ours is tried once more, and then it is the test's result: IE. What never can run is not, and
        no checker that took all of its time: nor is it asked about other tests, because the verdict is IE already."""
        for attempt in range(ATTEMPTS):
            try:
                async with _seat(self._seats, self._task.client), test.opened() as data:
                    if self._hangs is not None:
                        return TestResult(test.id, Verdict.IE, f"not run, because on another test {self._hangs}")
                    return await self._attempt(test, data)
            except CheckerHangs as error:
                self._hangs = str(error)
                return TestResult(test.id, Verdict.IE, str(error))
            except CheckerFailed as error:
                failure = str(error)
            except CallersFault as error:
                return TestResult(test.id, Verdict.IE, str(error))
            except (CellblockError, OSError) as error:
                log.warning("a test failed for a reason of ours", test=test.id, attempt=attempt, reason=str(error))
                failure = "the sandbox could not run it"
        return TestResult(test.id, Verdict.IE, failure)

    async def _attempt(self, test: Test, data: Data) -> TestResult:
        """One run, or as many as the checker asks for (multi-pass), each within the limits."""
        total = TestResult(test.id, Verdict.AC)
        with contextlib.ExitStack() as stack:
            for number in range(self._task.passes_max):
                run = self._interact if self._task.is_interactive else self._check
                finished, judged, answer = await run(test, data)
                stack.close()  # what the pass before it left
                total = _added(total, judged, finished, answer)
                if answer is None or answer.next_pass is None:
                    return total
                stack.callback(answer.next_pass.close)
                if judged.verdict is not Verdict.AC:
                    return total
                if number + 1 == self._task.passes_max:
                    raise CheckerFailed(f"the checker asks for more than {number + 1} passes")
                data = dataclasses.replace(data, input=answer.next_pass.input, feedback=answer.next_pass.feedback)
        raise AssertionError("no pass at all")

    async def _check(self, test: Test, data: Data) -> _Outcome:
        """Run, then check."""
        checker = _checker_of(self._task, test)
        with checking.opened(self._executor, checker, self._judges.checkers, data) as check:
            files = None
            if data.files:
                files = await to_the_end(pack, data.files, self._built.files, undo=os.close)
            order = self._order(test, data.input, check, files)
            try:
                finished = await self._executor.run(order)
            finally:
                if files is not None:
                    os.close(files)
            facts = facts_of(finished, order.limits)
            answer = await check.answer() if facts.clean else None
        return finished, verdicts.of_run(facts, None if answer is None else answer.accepted), answer

    async def _interact(self, test: Test, data: Data) -> _Outcome:
        """Run with the interactor.

        If that ended first and rejects, nothing that the submission did later counts; if the submission failed, what
        the interactor made of that does not (legacy format, "Interactive problems"). What it says when nobody reads any
        more is no failure, however much it is: problemtools takes its SIGPIPE for a good end.
        """
        checker, (built,) = _checker_of(self._task, test), self._judges.checkers
        assert isinstance(checker, Custom)
        files = await checking.judge_files(built, data)
        try:
            arguments = checking.arguments_of(checker)
            order = checking.judge_order(checker.submission, built, files, arguments, None, graded=False)
            program = self._order(test, None, None, None)
            talked = await self._executor.patiently(program.toolchain, lambda: talk(self._client, program, order))
        finally:
            os.close(files)
        if talked.judge is not None:
            answer = await checking.read_answer(checker.protocol, talked.judge, "the interactor")
            if talked.facts.clean or not answer.accepted:
                judged = verdicts.Judgement(Verdict.AC if answer.accepted else Verdict.WA)
                return talked.program, judged, answer
            if answer.next_pass is not None:
                answer.next_pass.close()
        return talked.program, verdicts.of_run(talked.facts), None

    def _order(self, test: Test, given: int | None, check: checking.Check | None, files: int | None) -> Order:
        """`given` is its input: as a file where nobody can change that, else through a pipe."""
        submission, built = self._task.submission, self._built
        is_file = given is not None and is_sealed(given)
        return Order(
            toolchain=submission.toolchain.id, step=submission.toolchain.steps[-1].id,
            limits=graded_limits(submission.toolchain, submission.limits),
            output_bytes=submission.output_bytes, source=built.source, artifact=built.artifact,
            files=built.files if files is None else files, input=given if is_file else None,
            stdin=b"" if given is None or is_file else given, args=test.args, graded=True, keeps=False,
            on_output=None if check is None else check.hear,
        )  # fmt: skip


def _as_scheduled(name: str, progress: Progress, own: TestResult | None) -> TestResult:
    """What counts of a test: its own result, but where the schedule says otherwise, with the sentence that says why."""
    verdict = progress.results[name].verdict
    if own is None or verdict is Verdict.SK:
        return TestResult(name, verdict)
    if own.verdict is verdict:
        return own
    said = (one.removeprefix(f"{name}: ") for one in progress.problems if one.startswith(f"{name}: "))
    return dataclasses.replace(own, verdict=verdict, reason=next(said, own.reason))


def _checker_of(task: Task, test: Test) -> Checker:
    """The task's, with what is the test's own."""
    programs = programs_of(task.checker)
    if not programs:
        return test.checker or task.checker
    if test.flags is not None:
        programs = tuple(dataclasses.replace(one, flags=test.flags) for one in programs)
    return programs[0] if isinstance(task.checker, Custom) else AllOf(programs)


def _added(
    total: TestResult, judged: verdicts.Judgement, finished: Finished, answer: checking.Answer | None
) -> TestResult:
    """The result so far with another pass: the slowest and the largest count, because each has the limits for itself
    (2025-09, "Multi-pass validation"), and a time limit may be computed from them."""
    usage = finished.outcome.usage
    return dataclasses.replace(
        total,
        verdict=judged.verdict,
        reason=judged.reason,
        cpu_ns=_most(total.cpu_ns, usage.cpu_ns),
        wall_ns=_most(total.wall_ns, usage.wall_ns),
        memory_bytes=_most(total.memory_bytes, usage.memory_bytes),
        message="" if answer is None else answer.message,
        score=None if answer is None else answer.score,
        multiplier=None if answer is None else answer.multiplier,
    )


def _most(one: int | None, other: int | None) -> int | None:
    return max((known for known in (one, other) if known is not None), default=None)


def _not_built(task: Task, report: Report) -> GradeResult:
    skipped = tuple(TestResult(test.id, Verdict.SK) for test in task.tests)
    if task.on_result is not None:
        for result in skipped:
            task.on_result(result)
    return GradeResult(Verdict.CE, skipped, compile_ns=report.compile_ns, compilation=report)


@contextlib.asynccontextmanager
async def _seat(seats: Seats, client: str) -> AsyncIterator[None]:
    """One of the tests that run at the same time. Raises SandboxUnavailable for a wait as long as that for a core."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(GRADED_ACQUIRE_S):
                await stack.enter_async_context(seats.taken(client, seats.line.seats))
        except TimeoutError:
            raise SandboxUnavailable("grading", f"no turn within {GRADED_ACQUIRE_S:.0f} s") from None
        yield


async def _cancel(tasks: list[asyncio.Task[TestResult]]) -> None:
    """End them, and wait until their jails have been told."""
    for one in tasks:
        one.cancel()
    if tasks:
        await asyncio.wait(tasks)
