"""Tests of many gradings wait for their turn, so that the jails they ask for are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, cast

from daemon.grading.grader import Grader
from daemon.grading.schedules import Listed
from daemon.grading.task import Data, GradeResult, Plain, Task
from daemon.grading.task import Test as Case
from daemon.grading.verdicts import Verdict
from daemon.judge.executor import Built
from daemon.sandbox.model import Limits, Outcome, Usage
from daemon.sandbox.order import Finished
from daemon.settings import Settings

TESTS_MAX = 3


class Step:
    id = "run"


class Toolchain:
    id = "python"
    steps = (Step(),)


class Submission:
    toolchain = Toolchain()
    limits = Limits(1 << 20, 1, 1)
    output_bytes = 1


class Executor:
    """Every run ends on a later turn of the loop; counts those that are under way."""

    def __init__(self) -> None:
        self.running = self.most = self.ended = 0

    @contextlib.asynccontextmanager
    async def built(self, _: object) -> AsyncIterator[Built]:
        yield Built(None, None, 0)

    async def run(self, _: object) -> Finished:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _turn in range(5):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        self.ended += 1
        return Finished(Outcome(1 << 8, None, Usage(1, 1, 1)), b"", b"", False, {})


class Facts:
    cores = (0, 1, 2, 3)


class Client:
    facts = Facts()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Data]:
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        yield Data(null, null)
    finally:
        os.close(null)


def task(count: int) -> Task:
    names = [str(number) for number in range(count)]
    tests = tuple(Case(name, opened) for name in names)
    return Task(cast("Any", Submission()), tests, Plain.EXACT, Listed(names, False))


def test_the_tests_of_many_gradings_wait_for_their_turn(monkeypatch: Any) -> None:
    """Each grading alone would have five under way."""
    monkeypatch.setattr("daemon.grading.grader.graded_limits", lambda toolchain, limits: limits)
    executor = Executor()

    async def all_of() -> list[GradeResult]:
        grader = Grader(cast("Any", executor), cast("Any", Client()), TESTS_MAX)
        return await asyncio.gather(*(grader.grade(task(8)) for _ in range(10)))

    results = asyncio.run(all_of())
    assert (executor.most, executor.ended) == (TESTS_MAX, 80)
    assert {test.verdict for result in results for test in result.tests} == {Verdict.RE}


def test_there_may_be_as_many_jails_as_can_be_asked_for() -> None:
    """A program and what judges it for each test, one for each slot and each upload."""
    for http_processes, runs_at_once in ((1, 1), (1, 16), (12, 8), (12, 192)):
        settings = Settings(http_processes=http_processes, runs_at_once=runs_at_once)
        slots = http_processes * (settings.runs_at_once_of_one + settings.uploads_at_once_of_one)
        assert settings.deployment().jails_max >= slots + 2 * http_processes * settings.tests_at_once
