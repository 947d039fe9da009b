"""Runs a submission on its tests: compiled once, as many tests at once as there are cores, results in their order."""

import asyncio
import contextlib
import dataclasses
import os

import structlog

from daemon.judge.executor import Built, Executor
from daemon.judge.submission import Report
from daemon.sandbox.client import Client
from daemon.sandbox.model import KilledBy
from daemon.sandbox.order import Finished, Order, SandboxUnavailable

from . import checking, verdicts
from .checking import CheckerFailed
from .task import Custom, GradeResult, Task, Test, TestResult
from .verdicts import RunFacts, Verdict

log = structlog.get_logger("cellblock.grading")

ATTEMPTS = 2  # our own failure is repeated once
AHEAD = 1  # tests whose jail is ready when a core gets free


class Grader:
    """Grades through one executor. Any number of tasks may be under way; the keeper gives each run a core in turn."""

    def __init__(self, executor: Executor, client: Client) -> None:
        self._executor, self._client = executor, client

    async def grade(self, task: Task) -> GradeResult:
        """Raises SandboxUnavailable where the submission or the checker could not be built for a reason of ours, and
        CheckerFailed for a checker that does not compile. Cancelling it ends every run."""
        async with contextlib.AsyncExitStack() as stack:
            checker: Built | None = None
            if isinstance(task.checker, Custom):
                found = await stack.enter_async_context(self._executor.built(task.checker.submission))
                if isinstance(found, Report):
                    raise CheckerFailed(f"the checker does not compile: {found.error}")
                checker = found
            built = await stack.enter_async_context(self._executor.built(task.submission))
            if isinstance(built, Report):
                return _not_built(task, built)
            results = await _Grading(self._executor, task, built, checker, self._at_once()).run()
            verdict = verdicts.of_submission([result.verdict for result in results])
            return GradeResult(verdict, results, built.compile_ns, built.cached)

    def _at_once(self) -> int:
        facts = self._client.facts
        return AHEAD + (len(facts.cores) if facts is not None else 1)


class _Grading:
    """One task under way."""

    def __init__(self, executor: Executor, task: Task, built: Built, checker: Built | None, at_once: int) -> None:
        self._executor, self._task, self._built, self._checker = executor, task, built, checker
        self._at_once = at_once
        self._known: list[TestResult | None] = [None] * len(task.tests)
        self._told = 0

    async def run(self) -> tuple[TestResult, ...]:
        running: dict[int, asyncio.Task[TestResult]] = {}
        waiting = 0
        try:
            while len(settled := self._settled()) < len(self._known):
                self._tell(settled)
                needed = verdicts.needed(self._verdicts(), self._task.stop_on_failure)
                await _cancel([running.pop(number) for number in list(running) if number >= needed])
                while waiting < needed and len(running) < self._at_once:
                    running[waiting] = asyncio.create_task(self._test(self._task.tests[waiting]))
                    waiting += 1
                await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
                for number in [number for number, one in running.items() if one.done()]:
                    self._known[number] = running.pop(number).result()
            self._tell(settled)
            return settled
        finally:
            await _cancel(list(running.values()))

    def _verdicts(self) -> list[Verdict | None]:
        return [None if result is None else result.verdict for result in self._known]

    def _settled(self) -> tuple[TestResult, ...]:
        """The results that will not change, in order."""
        found = verdicts.settled(self._verdicts(), self._task.stop_on_failure)
        return tuple(
            result
            if result is not None and result.verdict is verdict
            else TestResult(self._task.tests[number].id, verdict)
            for number, (result, verdict) in enumerate(zip(self._known, found, strict=False))
        )

    def _tell(self, settled: tuple[TestResult, ...]) -> None:
        if self._task.on_result is not None:
            for result in settled[self._told :]:
                self._task.on_result(result)
        self._told = len(settled)

    async def _test(self, test: Test) -> TestResult:
        """A failure of ours is tried once more, and then it is the test's result: IE."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._attempt(test)
            except CheckerFailed as error:
                failure = str(error)
            except (SandboxUnavailable, OSError) as error:
                log.warning("a test failed for a reason of ours", test=test.id, attempt=attempt, reason=str(error))
                failure = "the sandbox could not run it"
        return TestResult(test.id, Verdict.IE, failure)

    async def _attempt(self, test: Test) -> TestResult:
        with checking.opened(self._executor, self._task.checker, self._checker, test) as check:
            finished = await self._executor.run(self._order(test, check))
            facts = _facts(finished)
            answer = await check.answer() if facts.clean else None
        judged = verdicts.of_run(facts, None if answer is None else answer.accepted)
        usage = finished.outcome.usage
        result = TestResult(
            test.id, judged.verdict, judged.reason, cpu_ns=usage.cpu_ns, wall_ns=usage.wall_ns,
            memory_bytes=usage.memory_bytes,
        )  # fmt: skip
        return result if answer is None else dataclasses.replace(result, message=answer.message, score=answer.score)

    def _order(self, test: Test, check: checking.Check) -> Order:
        submission, built = self._task.submission, self._built
        return Order(
            toolchain=submission.toolchain.id, step=submission.toolchain.steps[-1].id, limits=submission.limits,
            output_bytes=submission.output_bytes, source=built.source, artifact=built.artifact, files=built.files,
            stdin=test.input, args=test.args, graded=True, keeps=False, on_output=check.hear,
        )  # fmt: skip


def _facts(finished: Finished) -> RunFacts:
    killed_by, status = finished.outcome.killed_by, finished.outcome.wait_status
    if killed_by is not None or finished.truncated:
        status = None  # it was ended from outside
    return RunFacts(
        exit_code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
        memory=killed_by is KilledBy.MEMORY, cpu=killed_by is KilledBy.CPU, output=finished.truncated,
        wall=killed_by is KilledBy.WALL,
    )  # fmt: skip


def _not_built(task: Task, report: Report) -> GradeResult:
    skipped = tuple(TestResult(test.id, Verdict.SK) for test in task.tests)
    if task.on_result is not None:
        for result in skipped:
            task.on_result(result)
    return GradeResult(Verdict.CE, skipped, report.compile_ns, compilation=report)


async def _cancel(tasks: list[asyncio.Task[TestResult]]) -> None:
    """End them, and wait until their jails have been told."""
    for one in tasks:
        one.cancel()
    if tasks:
        await asyncio.wait(tasks)
