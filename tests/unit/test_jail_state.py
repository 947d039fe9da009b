"""The life of a jail, event by event, without root and with a clock of our own."""

from __future__ import annotations

import pytest

from daemon.keeper import jail_state as js
from daemon.keeper.jail_state import Phase
from daemon.keeper.machine import TICK
from daemon.sandbox.model import KilledBy

PATIENCE_S, WALL_S = 10.0, 5.0
WENT = js.Went(WALL_S, None, 2)


class Life:
    """Feeds events at times and keeps the effects of all of them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.state = js.new(PATIENCE_S, self.now)
        self.effects: list[js.Effect] = []

    def feed(self, *events: object) -> Life:
        for event in events:
            self.state, effects = js.decide(self.state, event, self.now)  # type: ignore[arg-type]
            self.effects += effects
        return self

    def wait(self) -> Life:
        """Until its own deadline, and what it does then."""
        due = js.due(self.state)
        assert due is not None, f"{self.state.phase} has no deadline"
        self.now = max(self.now, due)
        return self.feed(TICK)

    def has(self, kind: type) -> bool:
        return any(isinstance(effect, kind) for effect in self.effects)

    def count(self, kind: type) -> int:
        return sum(isinstance(effect, kind) for effect in self.effects)


def parked() -> Life:
    return Life().feed(js.Made(), js.IsParked())


def running(cpu_ns: int | None = None) -> Life:
    return parked().feed(js.Went(WALL_S, cpu_ns, 2))


def test_a_run_that_goes_well_is_told_once_and_leaves_nothing() -> None:
    life = running().feed(js.ProgramEnded(0, True), js.AllDead(), js.Removed(True))
    assert life.state.phase is Phase.GONE
    assert [type(effect) for effect in life.effects] == [
        js.TellParked, js.TellOutcome, js.KillAll, js.Release, js.Forget,
    ]  # fmt: skip
    assert js.due(life.state) is None


def test_the_outcome_waits_for_what_the_program_left_alive() -> None:
    life = running().feed(js.ProgramEnded(0, False))
    assert not life.has(js.TellOutcome)
    assert life.feed(js.AllDead()).count(js.TellOutcome) == 1
    assert life.state.status == 0


def test_a_jail_may_speak_before_its_warden() -> None:
    life = Life().feed(js.IsParked())
    assert not life.has(js.TellParked)
    assert life.feed(js.Made()).has(js.TellParked)
    assert life.state.phase is Phase.PARKED


@pytest.mark.parametrize(
    "events", [(), (js.Made(),), (js.Made(), js.IsParked()), (js.Made(), js.IsParked(), WENT)], ids=len
)
def test_every_state_but_parked_has_a_deadline(events: tuple[object, ...]) -> None:
    life = Life().feed(*events)
    assert (js.due(life.state) is None) == (life.state.phase is Phase.PARKED)
    life.feed(js.Kill(KilledBy.CLIENT))
    assert js.due(life.state) is not None
    if life.state.exists is None:
        life.feed(js.Made())
    life.feed(js.AllDead())
    assert life.state.phase is Phase.REMOVING
    assert js.due(life.state) is not None


def test_a_warden_that_makes_no_jail_is_blamed() -> None:
    life = Life().wait()
    assert life.has(js.BlameWarden)
    life.feed(js.NotMade("its warden is gone"), js.Removed(True))
    assert life.state.phase is Phase.GONE
    assert life.count(js.TellRefused) == 1


def test_a_jail_that_does_not_park_fails_alone() -> None:
    life = Life().feed(js.Made()).wait()
    assert not life.has(js.BlameWarden)
    life.feed(js.AllDead())
    (refusal,) = [effect for effect in life.effects if isinstance(effect, js.TellRefused)]
    assert refusal == js.TellRefused("park", "not ready after 10 s")


def test_the_wall_limit_kills_a_program_that_runs() -> None:
    life = running().wait()
    assert life.now == 100.0 + WALL_S
    assert life.has(js.AskIfDead)
    assert not life.has(js.KillAll)
    life.feed(js.WallPassed(is_dead=False))
    assert (life.state.phase, life.state.killed_by) == (Phase.ENDING, KilledBy.WALL)


def test_a_program_that_died_at_the_wall_limit_has_time_for_its_status_and_nobody_is_blamed() -> None:
    life = running().wait().feed(js.WallPassed(is_dead=True))
    assert life.state.phase is Phase.UNTOLD
    life.now += js.UNTOLD_S / 2
    life.feed(js.ProgramEnded(0, True))
    assert (life.state.killed_by, life.state.status) == (None, 0)
    assert life.state.ended_s == 100.0 + WALL_S, "its wall time is not the time that its status took"
    assert not life.has(js.BlameWarden)
    assert life.count(js.TellOutcome) == 1


def test_a_warden_that_does_not_tell_of_a_dead_program_is_blamed_and_no_verdict_comes_of_it() -> None:
    life = running().wait().feed(js.WallPassed(is_dead=True)).wait()
    assert life.has(js.BlameWarden)
    assert life.state.killed_by is KilledBy.LOST


def test_processes_that_do_not_die_are_killed_again_and_their_warden_is_blamed() -> None:
    life = running().feed(js.Kill(KilledBy.OUTPUT)).wait()
    assert life.count(js.KillAll) == 2
    assert life.has(js.BlameWarden)
    assert js.due(life.state) is not None
    assert life.state.killed_by is KilledBy.OUTPUT


@pytest.mark.parametrize("why", list(KilledBy))
def test_the_first_reason_to_kill_counts(why: KilledBy) -> None:
    life = running().feed(js.Kill(why), js.Kill(KilledBy.CLIENT), js.Fail("late", "too late"), js.AllDead())
    assert (life.state.killed_by, life.state.failure) == (why, None)


@pytest.mark.parametrize(
    "event", [js.ProgramEnded(0, True), js.ChannelClosed(False), js.ChannelClosed(True), js.AllDead()]
)
@pytest.mark.parametrize("before", [(js.Made(),), (js.Made(), js.IsParked())], ids=["starting", "parked"])
def test_an_end_before_go_is_a_refusal_and_never_an_outcome(before: tuple[object, ...], event: object) -> None:
    life = Life().feed(*before, event)
    if life.state.phase is not Phase.REMOVING:
        life.feed(js.AllDead())
    assert life.count(js.TellRefused) == 1
    assert not life.has(js.TellOutcome)


def test_a_fork_closes_its_channel_at_go_and_an_init_that_does_so_is_lost() -> None:
    assert running().feed(js.ChannelClosed(is_expected=True)).state.phase is Phase.RUNNING
    life = running().feed(js.ChannelClosed(is_expected=False))
    assert (life.state.phase, life.state.status, life.state.killed_by) == (Phase.ENDING, None, None)


def test_an_init_that_dies_just_after_it_was_ready_is_an_end_and_no_more() -> None:
    """Its death may be heard before go is answered; whoever has the jail gets one outcome without a verdict."""
    life = running().feed(js.AllDead())
    assert (life.state.phase, life.count(js.TellOutcome), life.state.status) == (Phase.REMOVING, 1, None)


def test_a_go_to_a_jail_that_is_not_parked_fails_it() -> None:
    life = Life().feed(js.Made(), WENT)
    assert life.state.failure == js.Fail("go", "the jail is starting, not parked")


def test_a_second_ready_is_out_of_turn() -> None:
    assert parked().feed(js.IsParked()).state.failure == js.Fail("init", "spoke out of turn")


def test_a_memory_limit_below_what_the_jail_uses_is_met_at_once() -> None:
    life = parked().feed(js.Went(WALL_S, None, 2, too_small=True))
    assert (life.state.phase, life.state.killed_by, life.state.too_small) == (Phase.ENDING, KilledBy.MEMORY, True)
    assert life.feed(js.AllDead()).has(js.TellOutcome)


def test_cpu_time_is_looked_at_when_all_cores_could_have_used_it() -> None:
    life = running(cpu_ns=1_000_000_000).wait()
    assert life.now == pytest.approx(100.5)
    assert life.has(js.LookAtCpu)
    life.feed(js.CpuUsed(600_000_000)).wait()
    assert life.now == pytest.approx(100.7)
    life.feed(js.CpuUsed(1_000_000_000))
    assert life.state.killed_by is KilledBy.CPU


def test_cpu_time_that_the_kernel_does_not_tell_leaves_the_wall_limit() -> None:
    life = running(cpu_ns=1_000_000_000).wait().feed(js.CpuUsed(None)).wait()
    assert life.has(js.AskIfDead)


def test_what_is_killed_before_its_warden_has_answered_is_killed_once_it_exists() -> None:
    life = Life().feed(js.Kill(KilledBy.CLIENT), js.Made())
    assert life.count(js.KillAll) == 2
    assert life.feed(js.AllDead()).count(js.TellRefused) == 1
    life = Life().feed(js.Kill(KilledBy.CLIENT), js.NotMade("no memory"))
    assert life.state.phase is Phase.REMOVING


def test_a_group_that_stays_busy_is_tried_ever_more_slowly_and_logged_once() -> None:
    life = running().feed(js.Kill(KilledBy.CLIENT), js.AllDead())
    pauses = []
    for _ in range(40):
        life.feed(js.Removed(False))
        due = js.due(life.state)
        assert due is not None
        pauses.append(due - life.now)
        life.wait()
    assert pauses[0] == pytest.approx(js.REMOVE_S)
    assert pauses == sorted(pauses)
    assert pauses[-1] == js.REMOVE_S_MAX
    assert life.count(js.Log) == 1
    assert life.count(js.Release) == 41


EVENTS = [
    js.Made(), js.NotMade("x"), js.IsParked(), WENT, js.Went(WALL_S, 5, 1), js.ProgramEnded(9, True), js.ProgramEnded(0, False),
    js.ChannelClosed(True), js.ChannelClosed(False), js.AllDead(), js.WallPassed(True), js.WallPassed(False), js.CpuUsed(10**12),
    js.CpuUsed(None), js.Kill(KilledBy.WALL), js.Fail("a", "b"), js.Removed(True), js.Removed(False), TICK,
]  # fmt: skip


def test_no_sequence_of_events_tells_two_ends_or_leaves_a_state_without_a_deadline() -> None:
    """All sequences of three events after each that leads to a state of its own."""
    starts = [
        (), (js.Made(),), (js.Made(), js.IsParked()), (js.Made(), js.IsParked(), WENT),
        (js.Made(), js.IsParked(), WENT, js.WallPassed(True)), (js.Made(), js.IsParked(), WENT, js.Kill(KilledBy.OUTPUT)),
        (js.Made(), js.Fail("x", "y"), js.AllDead()),
    ]  # fmt: skip
    for start in starts:
        for one in EVENTS:
            for two in EVENTS:
                for three in EVENTS:
                    life = Life().feed(*start, one, two, three)
                    assert life.count(js.TellOutcome) + life.count(js.TellRefused) <= 1, (start, one, two, three)
                    is_restful = life.state.phase in (Phase.PARKED, Phase.GONE)
                    assert is_restful or js.due(life.state) is not None, (start, one, two, three)
