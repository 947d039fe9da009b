"""How many wardens there are and which make jails, event by event, and the life of one of them."""

from __future__ import annotations

import pytest

from daemon.keeper import fleet_state as fs
from daemon.keeper import warden_state as ws
from daemon.keeper.machine import TICK


class Yard:
    """Feeds events and remembers what was decided."""

    def __init__(self, wanted: int = 1, runs_max: int = 100, age_max_s: float = 3600.0) -> None:
        self.now = 100.0
        self.state = fs.State(wanted, runs_max, age_max_s)
        self.started: list[int] = []
        self.ended: list[int] = []
        self.lost: list[int] = []
        self.logged: list[str] = []
        self.feed(fs.Open())

    def feed(self, event: object) -> Yard:
        self.state, effects = fs.decide(self.state, event, self.now)  # type: ignore[arg-type]
        for effect in effects:
            match effect:
                case fs.Start(key):
                    self.started.append(key)
                case fs.End(key):
                    self.ended.append(key)
                case fs.TellPools(int(key)):
                    self.lost.append(key)
                case fs.Log(text):
                    self.logged.append(text)
        return self

    def wait(self) -> Yard:
        due = fs.due(self.state)
        assert due is not None
        self.now = max(self.now, due)
        return self.feed(TICK)

    def until_started(self, count: int) -> float:
        """Seconds until so many have been started."""
        begin = self.now
        while len(self.started) < count:
            self.wait()
        return self.now - begin

    def die(self, reason: str = "it broke") -> Yard:
        key = self.started[-1]
        return self.feed(fs.IsDead(key, reason)).feed(fs.IsGone(key))


def test_as_many_are_started_as_are_wanted() -> None:
    yard = Yard(wanted=3)
    assert yard.started == [1, 2, 3]
    assert fs.choose(yard.state) is None
    assert yard.state.problem == fs.STARTING
    yard.feed(fs.IsReady(2))
    assert (fs.choose(yard.state), yard.state.problem) == (2, None)


def test_the_warden_with_the_fewest_live_jails_makes_the_next() -> None:
    yard = Yard(wanted=2).feed(fs.IsReady(1)).feed(fs.IsReady(2))
    yard.feed(fs.JailMade(1))
    assert fs.choose(yard.state) == 2
    yard.feed(fs.JailMade(2)).feed(fs.JailMade(2)).feed(fs.JailGone(1))
    assert fs.choose(yard.state) == 1


def test_a_warden_that_was_steady_is_replaced_at_once() -> None:
    yard = Yard().feed(fs.IsReady(1))
    yard.now += 60
    yard.die("the kernel killed it")
    assert (yard.lost, yard.state.problem, yard.logged) == ([1], "the kernel killed it", ["the kernel killed it"])
    assert yard.until_started(2) == pytest.approx(fs.RESTART_S)


@pytest.mark.parametrize("is_ready_first", [False, True], ids=["never ready", "ready and then broken"])
def test_wardens_that_fail_are_started_ever_more_slowly_and_for_ever(is_ready_first: bool) -> None:
    """Two thousand failures at five seconds each are three hours; no arithmetic overflows."""
    yard, pauses = Yard(), []
    for number in range(2000):
        if is_ready_first:
            yard.feed(fs.IsReady(yard.started[-1]))
        yard.die()
        pauses.append(yard.until_started(number + 2))
    assert pauses[0] <= 4 * fs.RESTART_S
    assert pauses[-1] == pytest.approx(fs.RESTART_S_MAX)
    assert yard.state.problem == "it broke"


def test_an_old_warden_serves_until_its_successor_is_ready_and_ends_with_its_last_jail() -> None:
    yard = Yard(age_max_s=50.0).feed(fs.IsReady(1)).feed(fs.JailMade(1))
    yard.now += 51
    yard.wait()
    assert yard.started == [1, 2]
    assert fs.choose(yard.state) == 1, "until the successor is ready"
    yard.feed(fs.IsReady(2))
    while not yard.lost:
        yard.wait()
    assert yard.lost == [1]
    assert (fs.choose(yard.state), yard.ended) == (2, [])
    yard.feed(fs.JailGone(1))
    assert yard.ended == [1]
    yard.feed(fs.IsDead(1, "replaced")).feed(fs.IsGone(1))
    assert (yard.started, yard.logged) == ([1, 2], []), "that is no failure, and nothing is missing"


def test_a_warden_that_has_made_enough_is_replaced() -> None:
    yard = Yard(runs_max=3).feed(fs.IsReady(1))
    for _ in range(3):
        yard.feed(fs.JailMade(1)).feed(fs.JailGone(1))
    assert yard.until_started(2) <= fs.LOOK_S


def test_it_tells_how_many_wardens_were_lost_and_since_when_the_oldest_serves() -> None:
    yard = Yard()
    assert fs.counts(yard.state) == {"started": 1, "lost": 0}
    yard.feed(fs.IsReady(1))
    assert fs.counts(yard.state) == {"started": 1, "lost": 0, "since_s": 100}
    yard.now += 10
    yard.die()
    yard.until_started(2)
    yard.feed(fs.IsReady(2))
    assert fs.counts(yard.state) == {"started": 2, "lost": 1, "since_s": int(yard.now)}


def test_a_warden_that_is_retired_is_not_lost() -> None:
    yard = Yard(age_max_s=10.0)
    yard.feed(fs.IsReady(1))
    yard.now += 11
    yard.until_started(2)
    yard.feed(fs.IsReady(2))
    while not yard.ended:
        yard.wait()
    yard.feed(fs.IsDead(1, "replaced"))
    assert fs.counts(yard.state)["lost"] == 0


def test_after_the_end_nothing_is_started_and_all_are_waited_for() -> None:
    yard = Yard(wanted=2).feed(fs.IsReady(1)).feed(fs.Close())
    assert set(yard.ended) == {1, 2}
    for key in (1, 2):
        assert not yard.state.is_gone
        yard.feed(fs.IsDead(key, "the keeper stops")).feed(fs.IsGone(key))
    assert yard.state.is_gone
    assert yard.started == [1, 2]
    assert fs.due(yard.state) is None


# -- one warden


def feed(state: ws.State, now: float, *events: object) -> tuple[ws.State, list[type]]:
    kinds: list[type] = []
    for event in events:
        state, effects = ws.decide(state, event, now)  # type: ignore[arg-type]
        kinds += map(type, effects)
    return state, kinds


def test_a_warden_that_is_not_ready_in_time_is_killed() -> None:
    state = ws.new(10.0, 100.0)
    assert ws.due(state) == 110.0
    state, kinds = feed(state, 110.0, TICK)
    assert state.phase is ws.Phase.DYING
    assert kinds == [ws.TellDead, ws.KillIt, ws.Reap]


@pytest.mark.parametrize("first", [(), (ws.IsReady(),)], ids=["starting", "ready"])
def test_its_death_is_told_once(first: tuple[object, ...]) -> None:
    _, kinds = feed(ws.new(10.0, 100.0), 101.0, *first, ws.End("a"), ws.End("b"), ws.IsReady())
    assert kinds.count(ws.TellDead) == 1


def test_one_that_does_not_die_is_looked_at_ever_more_slowly_and_logged_once() -> None:
    state, _ = feed(ws.new(10.0, 100.0), 100.0, ws.End("a"))
    now, kinds = 100.0, []
    for _ in range(60):
        state, found = feed(state, now, ws.Reaped(False))
        kinds += found
        due = ws.due(state)
        assert due is not None
        assert due - now <= ws.REAP_S_MAX
        now = due
        state, found = feed(state, now, TICK)
        assert found == [ws.Reap]
    assert kinds == [ws.Log]
    state, found = feed(state, now, ws.Reaped(True))
    assert (state.phase, found, ws.due(state)) == (ws.Phase.GONE, [ws.TellGone], None)
