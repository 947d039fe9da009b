"""One run of a peer: whatever becomes of its jail, the peer hears of it once, and its descriptors are closed once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, cast

import pytest

from daemon.keeper import jail
from daemon.keeper.cores import Cores
from daemon.keeper.runs import Run
from daemon.sandbox import messages
from daemon.sandbox.descriptors import close_all
from daemon.sandbox.model import KilledBy, Limits, Outcome, Usage
from daemon.sandbox.plan import JailSpec, StepPlan, Warm

LIMITS = Limits(memory_bytes=1, wall_ns=1, processes=1)
ORDER = messages.Run(7, "python", "run", LIMITS)
STEP = StepPlan(
    "run", ("/bin/true",), Warm.EXEC, 0, {}, {}, "main.py", None, (), True, JailSpec(1, 1, 1, 1, 1, 1), LIMITS, LIMITS
)
OUTCOME = Outcome(0, None, Usage(1, 2, 3))


class Peer:
    """What it is told."""

    def __init__(self) -> None:
        self.said: list[messages.Message] = []
        self.ended: list[int] = []

    def say(self, message: messages.Message, descriptors: Sequence[int] = ()) -> None:
        self.said.append(message)

    def run_ended(self, number: int) -> None:
        self.ended.append(number)


class Jail:
    """Parked, or gone a moment ago: then it refuses go, and says no more, because it has told its pool already."""

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal, self.pipes, self.owner = refusal, [11, 12, 13], lambda news: None
        self.failed: list[str] = []
        self.killed: list[KilledBy] = []
        self.went: list[int | None] = []

    def go(self, order: messages.Run, given: list[int], core: int | None) -> str | None:
        assert given == [5]
        self.went.append(core)
        return self.refusal

    def fail(self, stage: str, reason: str) -> None:
        self.failed.append(reason)

    def kill(self, why: KilledBy) -> None:
        self.killed.append(why)

    def close_pipes(self) -> None:
        self.pipes = []


class Pool:
    """Gives what it has at once; without a jail the run waits."""

    def __init__(self, found: Jail | None, step: StepPlan) -> None:
        self.found, self.step = found, step
        self.forgotten: list[int] = []
        self.patience: list[bool] = []
        self.runs_ended = 0

    def acquire(self, taker: Any, limits: Limits, is_patient: bool, sharing: int) -> int:
        self.patience.append(is_patient)
        if self.found is not None:
            taker.given(self.found)
        return 3

    def run_ended(self) -> None:
        self.runs_ended += 1

    def cancel(self, ticket: int) -> None:
        self.forgotten.append(ticket)


class Scene:
    def __init__(
        self, found: Jail | None, maximum: Limits = LIMITS, order: messages.Run = ORDER, cores: Cores | None = None
    ) -> None:
        step = dataclasses.replace(STEP, maximum=maximum, graded=LIMITS)
        self.peer, self.pool, self.closed = Peer(), Pool(found, step), []
        self.cores = Cores((), pins=True) if cores is None else cores
        self.run = Run(self.peer, order, [5], cast(Any, self.pool), self.closed.extend, self.cores)
        self.run.start()


def test_a_run_is_started_and_ended() -> None:
    found = Jail()
    scene = Scene(found)
    assert scene.peer.said == [messages.Started(7)]
    assert (found.pipes, scene.closed) == ([], [5])
    found.owner(jail.Ended(OUTCOME, {}))
    assert scene.peer.said[1:] == [messages.Ended.of(7, OUTCOME, ())]
    assert (scene.peer.ended, scene.pool.runs_ended) == ([7], 1)


def test_a_run_beyond_the_steps_maximum_asks_for_no_jail() -> None:
    scene = Scene(Jail(), maximum=dataclasses.replace(LIMITS, memory_bytes=0))
    assert scene.peer.said == [messages.Refused(7, "go", "limit memory_bytes is out of range")]
    assert (scene.peer.ended, scene.closed) == ([7], [5])


@pytest.mark.parametrize("reason", ["the jail is removing, not parked", "[Errno 32] Broken pipe"])
def test_a_jail_that_refuses_go_is_a_refusal_of_the_run_even_if_it_says_nothing_more(reason: str) -> None:
    found = Jail(refusal=reason)
    scene = Scene(found)
    assert scene.peer.said == [messages.Refused(7, "go", reason)]
    assert (scene.peer.ended, scene.closed, found.failed) == ([7], [5], [reason])
    found.owner(jail.Refused("go", reason))  # where it does say something: that is heard by nobody
    assert len(scene.peer.said) == 1


def test_a_run_that_waits_is_forgotten_when_it_is_killed() -> None:
    scene = Scene(None)
    scene.run.kill(KilledBy.CLIENT)
    assert (scene.pool.forgotten, scene.peer.said) == ([3], [messages.Refused(7, "kill", "client")])
    assert (scene.peer.ended, scene.closed) == ([7], [5])


def test_a_run_that_has_a_jail_is_killed_in_it() -> None:
    found = Jail()
    scene = Scene(found)
    scene.run.kill(KilledBy.OUTPUT)
    assert found.killed == [KilledBy.OUTPUT]
    assert scene.peer.ended == []


GRADED = dataclasses.replace(ORDER, graded=True)


def test_graded_and_held_runs_leave_the_last_parked_jails_to_single_ones() -> None:
    orders = [ORDER, GRADED, dataclasses.replace(ORDER, held=True)]
    assert [Scene(None, order=order).pool.patience for order in orders] == [[False], [True], [True]]


def test_graded_runs_have_a_core_each_and_who_comes_first_goes_first() -> None:
    cores = Cores((4,), pins=True)
    jails = [Jail() for _ in range(3)]
    first, second, third = (Scene(one, order=GRADED, cores=cores) for one in jails)
    assert [one.went for one in jails] == [[4], [], []]
    assert (second.peer.said, second.closed) == ([], [])
    jails[0].owner(jail.Ended(OUTCOME, {}))
    assert [one.went for one in jails] == [[4], [4], []]
    assert second.peer.said == [messages.Started(7)]
    jails[1].owner(jail.Ended(OUTCOME, {}))
    jails[2].owner(jail.Ended(OUTCOME, {}))
    assert [len(scene.peer.ended) for scene in (first, second, third)] == [1, 1, 1]
    assert repr(cores) == "<Cores: 1 free, 0 wait>"


def test_a_graded_run_whose_jail_dies_while_it_waits_for_a_core_takes_none() -> None:
    cores = Cores((4,), pins=True)
    jails = [Jail() for _ in range(3)]
    scenes = [Scene(one, order=GRADED, cores=cores) for one in jails]
    jails[1].owner(jail.Refused("kill", "client"))
    jails[0].owner(jail.Ended(OUTCOME, {}))
    assert [one.went for one in jails] == [[4], [], [4]]
    assert scenes[1].peer.said == [messages.Refused(7, "kill", "client")]


def test_a_graded_run_that_does_not_go_gives_its_core_on() -> None:
    cores = Cores((4,), pins=True)
    jails = [Jail(), Jail("the jail is removing, not parked"), Jail()]
    for one in jails:
        Scene(one, order=GRADED, cores=cores)
    jails[0].owner(jail.Ended(OUTCOME, {}))
    assert [one.went for one in jails] == [[4], [4], [4]]


def test_a_graded_run_has_a_maximum_of_its_own() -> None:
    small = dataclasses.replace(LIMITS, memory_bytes=0)
    assert Scene(Jail(), maximum=small, order=GRADED, cores=Cores((4,), pins=True)).peer.said == [messages.Started(7)]


def test_a_held_run_is_told_before_it_goes_and_goes_once() -> None:
    found = Jail()
    scene = Scene(found, order=dataclasses.replace(ORDER, held=True))
    assert (scene.peer.said, found.went, found.pipes, scene.closed) == ([messages.Started(7)], [], [], [])
    scene.run.begin()
    scene.run.begin()
    assert (found.went, scene.closed, len(scene.peer.said)) == ([None], [5], 1)
    found.owner(jail.Ended(OUTCOME, {}))
    assert scene.peer.said[1:] == [messages.Ended.of(7, OUTCOME, ())]


def test_a_held_run_waits_for_its_core_when_it_is_begun() -> None:
    cores = Cores((4,), pins=True)
    found = Jail()
    scene = Scene(found, order=dataclasses.replace(GRADED, held=True), cores=cores)
    assert repr(cores) == "<Cores: 1 free, 0 wait>"
    scene.run.begin()
    assert found.went == [4]


def test_a_held_run_whose_jail_is_lost_is_refused_and_cannot_begin() -> None:
    found = Jail()
    scene = Scene(found, order=dataclasses.replace(ORDER, held=True))
    found.owner(jail.Refused("init", "ended before go"))
    assert scene.peer.said[1:] == [messages.Refused(7, "init", "ended before go")]
    assert (scene.peer.ended, scene.closed, found.went) == ([7], [5], [])


def test_nothing_begins_that_is_not_held() -> None:
    scene = Scene(None)
    scene.run.begin()
    assert scene.peer.said == []
    found = Jail()
    Scene(found).run.begin()
    assert found.went == [None]


def test_where_the_host_cannot_pin_cores_only_count() -> None:
    found = Jail()
    Scene(found, order=GRADED, cores=Cores((0, 1), pins=False))
    assert found.went == [None]


def test_a_run_whose_memory_its_command_cannot_start_with_has_met_its_limit() -> None:
    """The peer hears of it what it hears of any run that is killed at its limit."""
    scene = Scene(None)
    scene.run.met_memory_limit()
    outcome = Outcome(None, KilledBy.MEMORY, Usage(0, None, None))
    assert scene.peer.said == [messages.Started(7), messages.Ended.of(7, outcome, ())]
    given, *pipes = scene.closed
    try:
        assert (given, [os.read(pipe, 1) for pipe in pipes[1:]], scene.peer.ended) == (5, [b"", b""], [7])
        with pytest.raises(BrokenPipeError):
            os.write(pipes[0], b"x")
    finally:
        close_all(pipes)
