"""Two programs that talk, as the HTTP process sees them: limits, who is waited for, and what is closed."""

import asyncio
import contextlib
import dataclasses
import functools
import os
import pathlib
import select
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest

from daemon.grading import interaction
from daemon.grading.checking import CheckerHangs
from daemon.grading.interaction import Talk, outlasting, talk
from daemon.sandbox.client import Client
from daemon.sandbox.messages import Begin, Kill, Message
from daemon.sandbox.model import KilledBy, Limits, Outcome, Usage
from daemon.sandbox.order import Order, SandboxUnavailable
from daemon.sandbox.running import Running

LIMITS = Limits(memory_bytes=1 << 20, wall_ns=100 * 10**9, processes=1)
PROGRAM, JUDGE = Order("python", "run", LIMITS, 1000), Order("python", "run-judge", LIMITS, 1000)
DESCRIPTORS = pathlib.Path("/proc/self/fd")


class TwoRuns:
    """A client whose runs end when a test says so; one that is refused does not start."""

    def __init__(self, refused: Order | None = None) -> None:
        self.refused = refused
        self.order: list[str] = []  # of what happened
        self.runs: dict[str, Running] = {}
        self.kills: list[tuple[str, KilledBy]] = []
        self.theirs: dict[str, list[int]] = {}  # what a program has of its pipes: stdin, stdout, stderr
        self.are_two = asyncio.Event()

    @contextlib.asynccontextmanager
    async def started(self, order: Order) -> AsyncIterator[Running]:
        if self.refused is not None and order.step == self.refused.step:
            raise SandboxUnavailable("acquire", "no jail")
        stdin, given = os.pipe()
        (heard, stdout), (noticed, stderr) = os.pipe(), os.pipe()
        self.order.append(f"{order.step} is held" if order.held else f"{order.step} goes")
        running = Running(asyncio.get_running_loop(), order, 1, functools.partial(self._hear, order.step))
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

    def _hear(self, step: str, message: Message) -> None:
        match message:
            case Kill(_, why):
                self.kills.append((step, why))
            case Begin():
                self.order.append(f"{step} begins")

    def end(self, order: Order, wait_status: int, left: list[int] | None = None) -> None:
        """As the keeper tells it, when everything of the jail is dead."""
        self._gone(order.step)
        files = left or []
        usage = Usage(wall_ns=1, cpu_ns=1, memory_bytes=1)
        self.runs[order.step].hear_ended(Outcome(wait_status, None, usage), tuple(range(len(files))), files)

    def hears_the_end(self, order: Order) -> bool:
        """Whether nothing more will come on its standard input."""
        return bool(select.select([self.theirs[order.step][0]], [], [], 0)[0])

    def _gone(self, step: str) -> None:
        for descriptor in self.theirs.pop(step):
            os.close(descriptor)


@contextlib.contextmanager
def nothing_stays_open() -> Iterator[None]:
    before = len(list(DESCRIPTORS.iterdir()))
    yield
    assert len(list(DESCRIPTORS.iterdir())) == before


async def begun(judge: Order = JUDGE) -> tuple[TwoRuns, asyncio.Task[Talk]]:
    runs = TwoRuns()
    talking = asyncio.create_task(talk(cast("Client", runs), PROGRAM, judge))
    await runs.are_two.wait()
    await turns()
    return runs, talking


async def turns() -> None:
    """Of the loop: more than anything that has happened needs to be heard."""
    for _ in range(10):
        await asyncio.sleep(0)


async def cancelled(talking: asyncio.Task[Talk]) -> None:
    talking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talking


def test_an_interactor_has_its_own_time_after_all_of_the_submissions() -> None:
    assert outlasting(JUDGE, PROGRAM).limits.wall_ns == 200 * 10**9


async def test_no_clock_counts_the_making_of_the_others_jail() -> None:
    """The interactor's jail is ready before the submission goes, and the interactor goes with it."""
    runs, talking = await begun()
    assert runs.order == ["run-judge is held", "run goes", "run-judge begins"]
    await cancelled(talking)


@pytest.mark.parametrize("refused", [PROGRAM, JUDGE], ids=["submission", "interactor"])
async def test_nothing_stays_open_when_one_of_the_two_has_no_jail(refused: Order) -> None:
    with nothing_stays_open():
        runs = TwoRuns(refused)
        for _ in range(2):
            with pytest.raises(SandboxUnavailable):
                await talk(cast("Client", runs), PROGRAM, JUDGE)
            runs.order.clear()


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


async def test_who_ended_first_is_who_is_told_first_whatever_was_closed_before() -> None:
    """An interactor that says its last word early has not ended; the submission that fails meanwhile has failed."""
    with nothing_stays_open():
        runs, talking = await begun()
        os.close(runs.theirs[JUDGE.step][1])
        await turns()
        runs.theirs[JUDGE.step][1] = os.open(os.devnull, os.O_WRONLY)
        runs.end(PROGRAM, 3 << 8)
        assert (await talking).judge is None


async def test_an_interactor_that_ended_first_has_the_last_word() -> None:
    with nothing_stays_open():
        runs, talking = await begun()
        runs.end(JUDGE, 43 << 8)
        runs.end(PROGRAM, 3 << 8)
        talked = await talking
        assert talked.judge is not None
        assert talked.judge.outcome.wait_status == 43 << 8


@pytest.mark.parametrize(("first", "other"), [(PROGRAM, JUDGE), (JUDGE, PROGRAM)], ids=["submission", "interactor"])
async def test_one_hears_that_the_other_is_silent_when_its_end_has_been_told(first: Order, other: Order) -> None:
    """So what it does for that is told later: no end overtakes the end that it follows from."""
    with nothing_stays_open():
        runs, talking = await begun()
        os.close(runs.theirs[first.step][1])
        await turns()
        assert not runs.hears_the_end(other)
        runs.theirs[first.step][1] = os.open(os.devnull, os.O_WRONLY)
        runs.end(first, 0)
        await turns()
        assert runs.hears_the_end(other)
        await cancelled(talking)


async def test_one_that_is_silent_and_goes_on_is_believed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interaction, "SILENT_S", 0)
    with nothing_stays_open():
        runs, talking = await begun()
        os.close(runs.theirs[PROGRAM.step][1])
        await turns()
        assert runs.hears_the_end(JUDGE)
        runs.theirs[PROGRAM.step][1] = os.open(os.devnull, os.O_WRONLY)
        await cancelled(talking)


async def test_an_interactor_that_hangs_has_its_own_time_after_the_submissions_end() -> None:
    with nothing_stays_open():
        short = dataclasses.replace(JUDGE, limits=dataclasses.replace(LIMITS, wall_ns=10**6))
        runs, talking = await begun(short)
        runs.end(PROGRAM, 0)
        with pytest.raises(CheckerHangs, match=r"the interactor did not end within 0\.001 s of the submission"):
            await talking
        assert runs.kills == [(JUDGE.step, KilledBy.CLIENT)]


@pytest.mark.parametrize("is_ended", [False, True], ids=["before its end", "with its end"])
async def test_a_talk_that_is_cancelled_ends_the_interactor_and_leaves_nothing_open(is_ended: bool) -> None:
    with nothing_stays_open():
        runs, talking = await begun()
        runs.end(PROGRAM, 0)
        await turns()
        if is_ended:
            runs.end(JUDGE, 42 << 8, [os.open(DESCRIPTORS, os.O_RDONLY)])
        await cancelled(talking)
        assert runs.kills == ([] if is_ended else [(JUDGE.step, KilledBy.CLIENT)])
        assert asyncio.all_tasks() == {asyncio.current_task()}
