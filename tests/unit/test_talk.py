"""Two programs that talk, as the HTTP process sees them: limits, who is waited for, and what is closed."""

import asyncio
import contextlib
import os
import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest

from daemon.grading.interaction import Talk, outlasting, talk
from daemon.sandbox.client import Client
from daemon.sandbox.model import KilledBy, Limits, Outcome, Usage
from daemon.sandbox.order import Order
from daemon.sandbox.running import Running

LIMITS = Limits(memory_bytes=1 << 20, wall_ns=100 * 10**9, processes=1)
PROGRAM, JUDGE = Order("python", "run", LIMITS, 1000), Order("python", "run-judge", LIMITS, 1000)
DESCRIPTORS = pathlib.Path("/proc/self/fd")


class TwoRuns:
    """A client whose runs end when a test says so."""

    def __init__(self) -> None:
        self.runs: dict[str, Running] = {}
        self.kills: list[tuple[str, KilledBy]] = []
        self.theirs: dict[str, list[int]] = {}  # what a program has of its pipes: stdin, stdout, stderr
        self.are_two = asyncio.Event()

    @contextlib.asynccontextmanager
    async def started(self, order: Order) -> AsyncIterator[Running]:
        stdin, given = os.pipe()
        (heard, stdout), (noticed, stderr) = os.pipe(), os.pipe()
        running = Running(asyncio.get_running_loop(), order, lambda why: self.kills.append((order.step, why)))
        running.take_pipes([given, heard, noticed])
        self.runs[order.step], self.theirs[order.step] = running, [stdin, stdout, stderr]
        if len(self.runs) == 2:
            self.are_two.set()
        try:
            yield running
        finally:
            running.close_unclaimed()
            if not running.has_ended:
                self.kills.append((order.step, KilledBy.CLIENT))
                self._gone(order.step)

    def end(self, order: Order, wait_status: int, left: list[int] | None = None) -> None:
        """As the keeper tells it, when everything of the jail is dead."""
        self._gone(order.step)
        files = left or []
        usage = Usage(wall_ns=1, cpu_ns=1, memory_bytes=1)
        self.runs[order.step].hear_ended(Outcome(wait_status, None, usage), tuple(range(len(files))), files)

    def _gone(self, step: str) -> None:
        for descriptor in self.theirs.pop(step):
            os.close(descriptor)


@contextlib.contextmanager
def nothing_stays_open() -> Iterator[None]:
    before = len(list(DESCRIPTORS.iterdir()))
    yield
    assert len(list(DESCRIPTORS.iterdir())) == before


async def begun() -> tuple[TwoRuns, asyncio.Task[Talk]]:
    runs = TwoRuns()
    talking = asyncio.create_task(talk(cast("Client", runs), PROGRAM, JUDGE))
    await runs.are_two.wait()
    return runs, talking


def test_an_interactor_has_its_own_time_after_all_of_the_submissions() -> None:
    assert outlasting(JUDGE, PROGRAM).limits.wall_ns == 200 * 10**9


async def test_both_are_waited_for() -> None:
    with nothing_stays_open():
        runs, talking = await begun()
        runs.end(PROGRAM, 0)
        runs.end(JUDGE, 42 << 8, [os.open(DESCRIPTORS, os.O_RDONLY)])
        talked = await talking
        assert talked.judge is not None
        assert (talked.facts.clean, talked.judge.outcome.wait_status, runs.kills) == (True, 42 << 8, [])
        for descriptor in talked.judge.left.values():
            os.close(descriptor)


async def test_an_interactor_whose_word_does_not_count_is_ended() -> None:
    with nothing_stays_open():
        runs, talking = await begun()
        runs.end(PROGRAM, 3 << 8)
        talked = await talking
        assert (talked.judge, talked.facts.exit_code, runs.kills) == (None, 3, [(JUDGE.step, KilledBy.CLIENT)])


@pytest.mark.parametrize("is_ended", [False, True], ids=["before its end", "with its end"])
async def test_a_talk_that_is_cancelled_ends_the_interactor_and_leaves_nothing_open(is_ended: bool) -> None:
    with nothing_stays_open():
        runs, talking = await begun()
        runs.end(PROGRAM, 0)
        for _ in range(10):  # turns of the loop, more than its end needs to be heard
            await asyncio.sleep(0)
        if is_ended:
            runs.end(JUDGE, 42 << 8, [os.open(DESCRIPTORS, os.O_RDONLY)])
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking
        assert runs.kills == ([] if is_ended else [(JUDGE.step, KilledBy.CLIENT)])
        assert asyncio.all_tasks() == {asyncio.current_task()}
