"""Tests of many gradings wait for their turn, so that the jails they ask for are bounded; so is the work for them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, cast

import pytest

from daemon.grading.checking import CheckerHangs
from daemon.grading.grader import Grader
from daemon.grading.schedules import Listed
from daemon.grading.scoring import Progress, Result
from daemon.grading.task import AllOf, Custom, Data, GradeResult, Plain, Protocol, Task
from daemon.grading.task import Test as Case
from daemon.grading.verdicts import Verdict
from daemon.judge.executor import Built
from daemon.sandbox.model import Limits, Outcome, Usage
from daemon.sandbox.order import Finished
from daemon.settings import Settings

TESTS_MAX = 3
SLOW_S = 0.005


class Step:
    id = "run"


class Toolchain:
    id = "python"
    steps = (Step(),)


@dataclasses.dataclass(frozen=True)
class Submission:
    toolchain: ClassVar[Toolchain] = Toolchain()
    limits: ClassVar[Limits] = Limits(1 << 20, 1, 1)
    output_bytes: ClassVar[int] = 1
    name: str = "solution"
    client: str = ""
    sharing: int = 1


class Executor:
    """Every run ends on a later turn of the loop; counts those that are under way."""

    def __init__(self) -> None:
        self.running = self.most = self.ended = 0
        self.built_for: list[tuple[str, str, int]] = []

    @contextlib.asynccontextmanager
    async def built(self, program: Submission) -> AsyncIterator[Built]:
        self.built_for.append((program.name, program.client, program.sharing))
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


class Slow(Listed):
    """Counts how often it is asked, which it takes a while over."""

    __slots__ = ()
    asked: ClassVar[int] = 0

    def progress(self, known: Mapping[str, Result]) -> Progress:
        Slow.asked += 1
        began_s = time.monotonic()
        while time.monotonic() < began_s + SLOW_S:
            pass
        return super().progress(known)


def task(count: int, schedule: type[Listed] = Listed) -> Task:
    names = [str(number) for number in range(count)]
    tests = tuple(Case(name, opened) for name in names)
    return Task(cast("Any", Submission()), tests, Plain.EXACT, schedule(names, False))


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


def test_many_gradings_of_one_client_do_not_hold_up_anothers(monkeypatch: Any) -> None:
    """The small one comes last, as large as each of the five others, and gets half of the seats that become free."""
    monkeypatch.setattr("daemon.grading.grader.graded_limits", lambda toolchain, limits: limits)
    ended: list[str] = []

    async def grade(grader: Grader, count: int, client: str) -> None:
        await grader.grade(dataclasses.replace(task(count), client=client))
        ended.append(client)

    async def all_of() -> None:
        grader = Grader(cast("Any", Executor()), cast("Any", Client()), TESTS_MAX)
        large = [asyncio.create_task(grade(grader, 12, "large")) for _ in range(5)]
        for _turn in range(4):
            await asyncio.sleep(0)
        assert grader._seats.line.waiting > TESTS_MAX, "the large ones are there before the small one comes"
        await asyncio.gather(*large, asyncio.create_task(grade(grader, 12, "small")))

    asyncio.run(all_of())
    assert ended[0] == "small"


def test_there_may_be_as_many_jails_as_can_be_asked_for() -> None:
    """A program and what judges it for each test, one for each slot and each upload."""
    for http_processes, runs_at_once in ((1, 1), (1, 16), (12, 8), (12, 192)):
        settings = Settings(http_processes=http_processes, runs_at_once=runs_at_once)
        slots = http_processes * (settings.runs_at_once_of_one + settings.uploads_at_once_of_one)
        assert settings.deployment().jails_max >= slots + 2 * http_processes * settings.tests_at_once


def test_a_schedule_that_takes_long_is_not_asked_after_every_result(monkeypatch: Any) -> None:
    """It computes all tests anew: 6000 times 6000 of them would be most of what the process does."""
    monkeypatch.setattr("daemon.grading.grader.graded_limits", lambda toolchain, limits: limits)
    told: list[str] = []

    async def grade() -> GradeResult:
        grader = Grader(cast("Any", Executor()), cast("Any", Client()), TESTS_MAX)
        asked = dataclasses.replace(task(100, Slow), on_result=lambda result: told.append(result.id))
        return await grader.grade(asked)

    result = asyncio.run(grade())
    assert told == [test.id for test in result.tests] == [str(number) for number in range(100)]
    assert Slow.asked < 50


class Hanging(Executor):
    """Whose checkers take all of their time."""

    async def run(self, order: object) -> Finished:
        await super().run(order)
        raise CheckerHangs("the checker met its wall limit")


def test_a_checker_that_hangs_is_not_asked_about_the_tests_that_have_not_begun(monkeypatch: Any) -> None:
    """Each would take a core for a minute, and the verdict is known."""
    monkeypatch.setattr("daemon.grading.grader.graded_limits", lambda toolchain, limits: limits)
    executor = Hanging()
    grader = Grader(cast("Any", executor), cast("Any", Client()), TESTS_MAX)
    result = asyncio.run(grader.grade(task(20)))
    assert executor.ended == TESTS_MAX
    assert result.verdict is Verdict.IE
    assert [test.verdict for test in result.tests] == [Verdict.IE] * 20
    assert result.tests[-1].reason == "not run, because on another test the checker met its wall limit"


@pytest.mark.threat("U5")
def test_whoever_grades_answers_for_what_judges_too(monkeypatch: Any) -> None:
    """A slow checker keeps others from the type checker as a slow submission does."""
    monkeypatch.setattr("daemon.grading.grader.graded_limits", lambda toolchain, limits: limits)
    executor = Executor()
    plain = task(0)
    judged = dataclasses.replace(
        plain, client="a", submission=cast("Any", Submission(sharing=3)),
        checker=AllOf(tuple(Custom(cast("Any", Submission(name)), Protocol.ICPC) for name in ("one", "two"))),
        group_grader=cast("Any", Submission("groups")),
    )  # fmt: skip
    asyncio.run(Grader(cast("Any", executor), cast("Any", Client()), TESTS_MAX).grade(judged))
    assert executor.built_for == [(name, "a", 3) for name in ("one", "two", "groups", "solution")]
