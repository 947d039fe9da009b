"""The life of a jail, event by event, without root and with a clock of our own."""

from __future__ import annotations

import pytest

from daemon.keeper import jail_events as ev
from daemon.keeper import jail_state as js
from daemon.keeper.jail_state import Phase
from daemon.keeper.machine import TICK
from daemon.sandbox.model import WAITING_MAX, KilledBy

BEGAN_S, PATIENCE_S, WALL_S = 100.0, 10.0, 5.0
GO_SENT = ev.GoSent(BEGAN_S, WALL_S, None, 2)


class Life:
    """Feeds events at times and keeps the effects of all of them."""

    def __init__(self) -> None:
        self.now = BEGAN_S
        self.state = js.new(PATIENCE_S, self.now)
        self.effects: list[ev.Effect] = []

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
    return Life().feed(ev.Made(), ev.IsParked())


def running(cpu_ns: int | None = None) -> Life:
    return parked().feed(ev.GoSent(BEGAN_S, WALL_S, cpu_ns, 2))


def test_a_run_that_goes_well_is_told_once_and_leaves_nothing() -> None:
    life = running().feed(ev.ProgramEnded(0, True), ev.AllDead(), ev.Removed(True))
    assert life.state.phase is Phase.GONE
    assert [type(effect) for effect in life.effects] == [
        ev.TellParked, ev.TellOutcome, ev.KillAll, ev.Release, ev.TellGone,
    ]  # fmt: skip
    assert js.due(life.state) is None


def test_the_outcome_waits_for_what_the_program_left_alive() -> None:
    life = running().feed(ev.ProgramEnded(0, False))
    assert not life.has(ev.TellOutcome)
    assert life.feed(ev.AllDead()).count(ev.TellOutcome) == 1
    assert life.state.status == 0


def test_a_jail_may_speak_before_its_warden() -> None:
    life = Life().feed(ev.IsParked())
    assert not life.has(ev.TellParked)
    assert life.feed(ev.Made()).has(ev.TellParked)
    assert life.state.phase is Phase.PARKED


@pytest.mark.parametrize(
    "events", [(), (ev.Made(),), (ev.Made(), ev.IsParked()), (ev.Made(), ev.IsParked(), GO_SENT)], ids=len
)
def test_every_state_but_parked_has_a_deadline(events: tuple[object, ...]) -> None:
    life = Life().feed(*events)
    assert (js.due(life.state) is None) == (life.state.phase is Phase.PARKED)
    life.feed(ev.Kill(KilledBy.CLIENT))
    assert js.due(life.state) is not None
    if life.state.exists is None:
        life.feed(ev.Made())
    life.feed(ev.AllDead())
    assert life.state.phase is Phase.REMOVING
    assert js.due(life.state) is not None


def test_a_warden_that_makes_no_jail_is_blamed() -> None:
    life = Life().wait()
    assert life.has(ev.BlameWarden)
    life.feed(ev.NotMade("its warden is gone"), ev.Removed(True))
    assert life.state.phase is Phase.GONE
    assert life.count(ev.TellRefused) == 1


def test_a_jail_that_does_not_park_fails_alone() -> None:
    life = Life().feed(ev.Made()).wait()
    assert not life.has(ev.BlameWarden)
    life.feed(ev.AllDead())
    (refusal,) = [effect for effect in life.effects if isinstance(effect, ev.TellRefused)]
    assert refusal == ev.TellRefused("park", "not ready after 10 s")


def test_the_wall_limit_kills_a_program_that_runs() -> None:
    life = running().wait()
    assert life.now == 100.0 + WALL_S
    assert life.has(ev.AskIfAlive)
    assert not life.has(ev.KillAll)
    life.feed(ev.WallPassed(is_alive=True))
    assert (life.state.phase, life.state.killed_by) == (Phase.ENDING, KilledBy.WALL)


def test_the_clock_starts_when_go_is_sent_and_not_when_the_keeper_gets_on() -> None:
    """The program may run on another core, and even end, before the keeper's next line."""
    life = parked()
    life.now += 0.5
    life.feed(ev.GoSent(BEGAN_S, WALL_S, None, 2))
    assert (life.state.started_s, js.due(life.state)) == (BEGAN_S, BEGAN_S + WALL_S)


@pytest.mark.threat("U1")
def test_a_program_that_died_at_the_wall_limit_has_time_for_its_status_and_nobody_is_blamed() -> None:
    life = running().wait().feed(ev.WallPassed(is_alive=False))
    assert life.state.phase is Phase.OVERDUE
    life.now += js.STATUS_S / 2
    life.feed(ev.ProgramEnded(0, True))
    assert (life.state.killed_by, life.state.status) == (None, 0)
    assert life.state.ended_s == 100.0 + WALL_S, "its wall time is not the time that its status took"
    assert not life.has(ev.BlameWarden)
    assert life.count(ev.TellOutcome) == 1


def test_a_program_that_starts_only_after_its_wall_limit_is_killed_then_and_has_met_the_limit() -> None:
    """The init of a command may need longer than a short limit before there is a program (a loaded host, emulation)."""
    life = running().wait().feed(ev.WallPassed(is_alive=False)).wait().feed(ev.WallPassed(is_alive=False))
    assert life.state.phase is Phase.OVERDUE
    life.wait().feed(ev.WallPassed(is_alive=True))
    assert (life.state.phase, life.state.killed_by) == (Phase.ENDING, KilledBy.WALL)
    assert life.state.ended_s == life.now
    assert life.now < BEGAN_S + WALL_S + js.STATUS_S


@pytest.mark.parametrize(("after_s", "killed_by"), [(-0.001, None), (0.001, KilledBy.WALL)], ids=["before", "after"])
@pytest.mark.parametrize("is_overdue", [False, True])
def test_when_a_command_ended_decides_whether_it_met_its_wall_limit(
    after_s: float, killed_by: KilledBy | None, is_overdue: bool
) -> None:
    """Not when the keeper came to hear of it; and whatever the jail says, it is not earlier than go nor later than now."""
    life = running()
    life.now = BEGAN_S + WALL_S + 0.004
    if is_overdue:
        life.feed(TICK, ev.WallPassed(is_alive=False))
    life.feed(ev.ProgramEnded(0, True, BEGAN_S + WALL_S + after_s))
    assert (life.state.killed_by, life.state.ended_s) == (killed_by, BEGAN_S + WALL_S + after_s)
    assert running().feed(ev.ProgramEnded(0, True, 0.0)).state.ended_s == BEGAN_S
    assert running().feed(ev.ProgramEnded(0, True, 1e12)).state.ended_s == BEGAN_S


def graded(cpu_ns: int | None = None) -> Life:
    return parked().feed(ev.GoSent(BEGAN_S, WALL_S, cpu_ns, 1, is_graded=True))


def test_what_a_graded_run_waited_for_a_processor_does_not_count_towards_its_wall_limit() -> None:
    life = graded().wait().feed(ev.WallPassed(is_alive=True, waited_s=3.0))
    assert (life.state.phase, js.due(life.state)) == (Phase.RUNNING, BEGAN_S + WALL_S + 3.0)
    life.wait().feed(ev.WallPassed(is_alive=True, waited_s=4.0))
    assert js.due(life.state) == BEGAN_S + WALL_S + 4.0
    life.wait().feed(ev.WallPassed(is_alive=True, waited_s=4.0))
    assert (life.state.phase, life.state.killed_by) == (Phase.ENDING, KilledBy.WALL)


def test_a_graded_run_that_only_sleeps_meets_its_wall_limit() -> None:
    life = graded().wait().feed(ev.WallPassed(is_alive=True, waited_s=0.0))
    assert (life.state.killed_by, life.state.ended_s) == (KilledBy.WALL, BEGAN_S + WALL_S)


def test_waiting_is_no_excuse_for_a_run_that_is_not_graded() -> None:
    """Whoever asked for ten seconds has an answer after ten."""
    life = running().wait().feed(ev.WallPassed(is_alive=True, waited_s=9.0))
    assert life.state.killed_by is KilledBy.WALL


def test_of_a_graded_run_that_hardly_had_a_processor_nothing_is_said() -> None:
    life = graded().wait().feed(ev.WallPassed(is_alive=True, waited_s=WAITING_MAX * WALL_S + 0.1))
    assert life.state.killed_by is KilledBy.LOST
    assert life.state.failure is not None
    assert life.state.failure.stage == "starved"


def test_a_graded_program_that_starts_after_its_wall_limit_has_all_of_it_then() -> None:
    life = graded(cpu_ns=10**9).wait().feed(ev.WallPassed(is_alive=False)).wait().feed(ev.WallPassed(is_alive=True))
    assert life.state.phase is Phase.RUNNING
    assert life.state.deadline_s == life.now + WALL_S
    assert life.state.look_s == life.now + 1.0, "its CPU time is looked at again"
    life.feed(ev.ProgramEnded(0, True, life.now))
    assert (life.state.killed_by, life.state.ended_s) == (None, life.now)


def test_a_graded_program_that_ended_before_anybody_looked_has_not_met_its_wall_limit() -> None:
    """What it waited for a processor cannot be known any more; its CPU time can."""
    life = graded()
    life.now = BEGAN_S + WALL_S + 0.1
    life.feed(ev.ProgramEnded(0, True, BEGAN_S + WALL_S + 0.05))
    assert life.state.killed_by is None


def test_a_warden_that_does_not_tell_of_a_dead_program_is_blamed_and_no_verdict_comes_of_it() -> None:
    life = running().wait().feed(ev.WallPassed(is_alive=False))
    while life.state.phase is Phase.OVERDUE:
        life.wait()
    assert life.now == BEGAN_S + WALL_S + js.STATUS_S
    assert life.has(ev.BlameWarden)
    assert life.state.killed_by is KilledBy.LOST


def test_an_init_that_does_not_tell_of_a_dead_program_is_at_fault_alone() -> None:
    """Of a command the jail's own init tells: its warden has nothing to do with it."""
    life = parked().feed(ev.GoSent(BEGAN_S, WALL_S, None, 2, by_warden=False)).wait()
    life.feed(ev.WallPassed(is_alive=False))
    while life.state.phase is Phase.OVERDUE:
        life.wait()
    assert not life.has(ev.BlameWarden)
    assert (life.state.phase, life.state.killed_by) == (Phase.ENDING, KilledBy.LOST)


def test_processes_that_do_not_die_are_killed_again_and_their_warden_is_blamed() -> None:
    life = running().feed(ev.Kill(KilledBy.OUTPUT)).wait()
    assert life.count(ev.KillAll) == 2
    assert life.has(ev.BlameWarden)
    assert js.due(life.state) is not None
    assert life.state.killed_by is KilledBy.OUTPUT


@pytest.mark.parametrize("why", list(KilledBy))
def test_the_first_reason_to_kill_counts(why: KilledBy) -> None:
    life = running().feed(ev.Kill(why), ev.Kill(KilledBy.CLIENT), ev.Fail("late", "too late"), ev.AllDead())
    assert (life.state.killed_by, life.state.failure) == (why, None)


@pytest.mark.parametrize(
    "event", [ev.ProgramEnded(0, True), ev.ChannelClosed(False), ev.ChannelClosed(True), ev.AllDead()]
)
@pytest.mark.parametrize("before", [(ev.Made(),), (ev.Made(), ev.IsParked())], ids=["starting", "parked"])
def test_an_end_before_go_is_a_refusal_and_never_an_outcome(before: tuple[object, ...], event: object) -> None:
    life = Life().feed(*before, event)
    if life.state.phase is not Phase.REMOVING:
        life.feed(ev.AllDead())
    assert life.count(ev.TellRefused) == 1
    assert not life.has(ev.TellOutcome)


def test_a_fork_closes_its_channel_at_go_and_an_init_that_does_so_is_lost() -> None:
    assert running().feed(ev.ChannelClosed(is_expected=True)).state.phase is Phase.RUNNING
    life = running().feed(ev.ChannelClosed(is_expected=False))
    assert (life.state.phase, life.state.status, life.state.killed_by) == (Phase.ENDING, None, None)


def test_an_init_that_dies_just_after_it_was_ready_is_an_end_and_no_more() -> None:
    """Its death may be heard before go is answered; whoever has the jail gets one outcome without a verdict."""
    life = running().feed(ev.AllDead())
    assert (life.state.phase, life.count(ev.TellOutcome), life.state.status) == (Phase.REMOVING, 1, None)


def test_a_go_to_a_jail_that_is_not_parked_fails_it() -> None:
    life = Life().feed(ev.Made(), GO_SENT)
    assert life.state.failure == ev.Fail("go", "the jail is starting, not parked")


def test_a_second_ready_is_out_of_turn() -> None:
    assert parked().feed(ev.IsParked()).state.failure == ev.Fail("init", "spoke out of turn")


def test_a_memory_limit_below_what_the_jail_uses_is_met_at_once() -> None:
    life = parked().feed(ev.GoSent(BEGAN_S, WALL_S, None, 2, too_small=True))
    assert (life.state.phase, life.state.killed_by, life.state.too_small) == (Phase.ENDING, KilledBy.MEMORY, True)
    assert life.feed(ev.AllDead()).has(ev.TellOutcome)


def test_cpu_time_is_looked_at_when_all_cores_could_have_used_it() -> None:
    life = running(cpu_ns=1_000_000_000).wait()
    assert life.now == pytest.approx(100.5)
    assert life.has(ev.LookAtCpu)
    life.feed(ev.CpuUsed(600_000_000)).wait()
    assert life.now == pytest.approx(100.7)
    life.feed(ev.CpuUsed(1_000_000_000))
    assert life.state.killed_by is KilledBy.CPU


def test_cpu_time_that_the_kernel_does_not_tell_leaves_the_wall_limit() -> None:
    life = running(cpu_ns=1_000_000_000).wait().feed(ev.CpuUsed(None)).wait()
    assert life.has(ev.AskIfAlive)


def test_what_is_killed_before_its_warden_has_answered_is_killed_once_it_exists() -> None:
    life = Life().feed(ev.Kill(KilledBy.CLIENT), ev.Made())
    assert life.count(ev.KillAll) == 2
    assert life.feed(ev.AllDead()).count(ev.TellRefused) == 1
    life = Life().feed(ev.Kill(KilledBy.CLIENT), ev.NotMade("no memory"))
    assert life.state.phase is Phase.REMOVING


def test_a_group_that_stays_busy_is_tried_ever_more_slowly_and_logged_once() -> None:
    life = running().feed(ev.Kill(KilledBy.CLIENT), ev.AllDead())
    pauses = []
    for _ in range(40):
        life.feed(ev.Removed(False))
        due = js.due(life.state)
        assert due is not None
        pauses.append(due - life.now)
        life.wait()
    assert pauses[0] == pytest.approx(js.REMOVE_S)
    assert pauses == sorted(pauses)
    assert pauses[-1] == js.REMOVE_S_MAX
    assert life.count(ev.Log) == 1
    assert life.count(ev.Release) == 41


EVENTS = [
    ev.Made(), ev.NotMade("x"), ev.IsParked(), GO_SENT, ev.GoSent(BEGAN_S, WALL_S, 5, 1), ev.ProgramEnded(9, True), ev.ProgramEnded(0, False),
    ev.ChannelClosed(True), ev.ChannelClosed(False), ev.AllDead(), ev.WallPassed(True), ev.WallPassed(False), ev.CpuUsed(10**12),
    ev.CpuUsed(None), ev.Kill(KilledBy.WALL), ev.Fail("a", "b"), ev.Removed(True), ev.Removed(False), TICK,
]  # fmt: skip


def test_no_sequence_of_events_tells_two_ends_or_leaves_a_state_without_a_deadline() -> None:
    """All sequences of three events after each that leads to a state of its own."""
    starts = [
        (), (ev.Made(),), (ev.Made(), ev.IsParked()), (ev.Made(), ev.IsParked(), GO_SENT),
        (ev.Made(), ev.IsParked(), GO_SENT, ev.WallPassed(True)), (ev.Made(), ev.IsParked(), GO_SENT, ev.Kill(KilledBy.OUTPUT)),
        (ev.Made(), ev.Fail("x", "y"), ev.AllDead()),
    ]  # fmt: skip
    for start in starts:
        for one in EVENTS:
            for two in EVENTS:
                for three in EVENTS:
                    life = Life().feed(*start, one, two, three)
                    assert life.count(ev.TellOutcome) + life.count(ev.TellRefused) <= 1, (start, one, two, three)
                    is_restful = life.state.phase in (Phase.PARKED, Phase.GONE)
                    assert is_restful or js.due(life.state) is not None, (start, one, two, three)
