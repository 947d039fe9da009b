"""When more come than can be served, few wait and the others are told at once; a burst waits, and so do gradings."""

import asyncio
import collections
import dataclasses
import heapq
import itertools
import random

import pytest

from daemon.turns.crowd import Crowd
from daemon.turns.line import Line, Refusal, State, Turn
from daemon.turns.seats import Refused, Seats

SEATS, PLACES, CROWDED, PARKED = 4, 64, 1, 3
MAKE_S = 0.004  # a jail on all cores, of which those that run together have one after the other


@dataclasses.dataclass
class Seen:
    """Of all that came in so many seconds: what those that were served took, and how many were refused."""

    took_s: list[float]
    refused: int

    def most_s(self, part: float) -> float:
        """What so large a part of those that were served took at most."""
        return sorted(self.took_s)[int(part * len(self.took_s))]


class Simulated:
    """A server on a clock of its own: a line and its crowd as seats.py has them, parked jails, and programs of `run_s`."""

    def __init__(self, run_s: float) -> None:
        self.line, self.crowd = Line(SEATS, PLACES), Crowd(PLACES)
        self.now_s, self.run_s = 1000.0, run_s
        self._parked, self._without_jail = PARKED, collections.deque[Turn]()
        self._events: list[tuple[float, int, Turn | None]] = []  # the end of a run, or a jail that is made
        self._numbers = itertools.count()
        self._came_s: dict[Turn, float] = {}
        self._random = random.Random(1)

    @property
    def per_s(self) -> float:
        """Its capacity."""
        return min(1 / MAKE_S, SEATS / self.run_s)

    def come(self, seen: Seen, client: str = "a", is_patient: bool = False) -> Refusal | None:
        self.crowd.come(self.now_s, self.line.is_empty)
        is_busy = self.line.impatient + len(self._without_jail) >= CROWDED
        refusal = self.line.refusal(client, SEATS, self.crowd.stands and is_busy and not is_patient)
        if refusal is not None:
            self.crowd.refuse(self.line.is_full)
            seen.refused += 1
            return refusal
        turn = Turn(client, SEATS, is_patient)
        self._came_s[turn] = self.now_s
        self.line.arrive(turn)
        self._seated(turn)
        return None

    def go_to(self, moment_s: float, seen: Seen) -> None:
        while self._events and self._events[0][0] <= moment_s:
            self.now_s, _, turn = heapq.heappop(self._events)
            if turn is None:
                self._parked += 1
                if len(self._without_jail) or self._parked < PARKED:
                    self._later(MAKE_S, None)
                if self._without_jail:
                    self._run(self._without_jail.popleft())
            else:
                self.crowd.end(self.now_s)
                seen.took_s.append(self.now_s - self._came_s.pop(turn))
                self._seated(self.line.leave(turn))
        self.now_s = moment_s

    def _seated(self, turn: Turn | None) -> None:
        if turn is not None and turn.state is State.SEATED:
            if self._parked:
                self._run(turn)
            else:
                self._without_jail.append(turn)

    def _run(self, turn: Turn) -> None:
        if self._parked == PARKED:
            self._later(MAKE_S, None)
        self._parked -= 1
        self._later(self.run_s, turn)

    def _later(self, mean_s: float, turn: Turn | None) -> None:
        moment_s = self.now_s + mean_s * self._random.uniform(0.5, 1.5)
        heapq.heappush(self._events, (moment_s, next(self._numbers), turn))

    def offer(self, load: float, count: int, regular: bool = False) -> Seen:
        """`load` is the capacity, so many times; arrivals are Poisson's or regular."""
        seen, per_s = Seen([], 0), load * self.per_s
        for _ in range(count):
            self.go_to(self.now_s + (1 / per_s if regular else self._random.expovariate(per_s)), seen)
            self.come(seen)
        return seen


KINDS = pytest.mark.parametrize("run_s", [0.003, 1.0], ids=["hello", "slow"])


@KINDS
@pytest.mark.parametrize("regular", [True, False], ids=["regular", "random"])
@pytest.mark.parametrize("load", [1.3, 2.0, 10.0])
def test_beyond_capacity_who_is_served_takes_at_most_three_times_as_long_as_alone(
    run_s: float, load: float, regular: bool
) -> None:
    """Once the burst that it began with is over, which is as without any crowd."""
    simulated = Simulated(run_s)
    simulated.offer(load, 1000, regular)
    began_s = simulated.now_s
    seen = simulated.offer(load, 4000, regular)
    assert seen.most_s(0.99) <= 3 * 1.5 * run_s
    assert len(seen.took_s) / (simulated.now_s - began_s) > 0.8 * simulated.per_s, "nothing stands idle"


@KINDS
@pytest.mark.parametrize("load", [0.3, 0.5, 0.7, 0.9])
def test_below_capacity_nobody_is_refused_soon_after_an_overload(run_s: float, load: float) -> None:
    simulated = Simulated(run_s)
    simulated.offer(2.0, 1000)
    assert simulated.crowd.stands
    simulated.offer(load, 1000)
    assert not simulated.crowd.stands
    assert simulated.offer(load, 4000).refused == 0


def test_a_burst_that_fits_into_the_places_is_no_crowd() -> None:
    simulated, seen = Simulated(0.003), Seen([], 0)
    for _ in range(20):
        assert {simulated.come(seen) for _ in range(SEATS + PLACES)} == {None}
        simulated.go_to(simulated.now_s + 2 * (SEATS + PLACES) / simulated.per_s, seen)
    assert not simulated.crowd.stands


def test_a_burst_beyond_the_places_is_a_crowd_until_it_is_served() -> None:
    simulated, seen = Simulated(1.0), Seen([], 0)
    refusals = [simulated.come(seen) for _ in range(SEATS + PLACES + 10)]
    assert refusals.count(None) == SEATS + PLACES and refusals[-1] is Refusal.CROWDED
    assert simulated.come(seen, is_patient=True) is Refusal.FULL
    simulated.go_to(simulated.now_s + PLACES / simulated.per_s, seen)
    assert simulated.come(seen) is None


def test_after_a_long_silence_there_is_no_crowd() -> None:
    simulated = Simulated(0.003)
    simulated.offer(2.0, 1000)
    simulated.go_to(simulated.now_s + 1e6, seen := Seen([], 0))
    assert {simulated.come(seen) for _ in range(SEATS + PLACES)} == {None}


def held_by(*clients: str) -> Line:
    """A line with a turn of each, in this order."""
    line = Line(SEATS, PLACES)
    for client in clients:
        line.arrive(Turn(client, SEATS))
    return line


def test_in_a_crowd_a_single_run_may_not_take_a_free_seat_and_a_grading_may_wait() -> None:
    line = held_by("a", "a")
    assert line.refusal("a", SEATS, is_crowded=True) is Refusal.CROWDED
    for _ in range(2 + PLACES):
        assert line.refusal("a", SEATS) is None
        line.arrive(Turn("a", SEATS, is_patient=True))
    assert (line.impatient, line.waiting) == (0, PLACES)
    assert line.refusal("a", SEATS) is Refusal.FULL


def test_the_crowd_of_one_client_keeps_no_other_out_until_that_has_its_share() -> None:
    line = held_by("greedy", "greedy", "greedy", "greedy", "greedy")
    told = []
    for _ in range(6):
        told.append(line.refusal("modest", SEATS, is_crowded=True))
        if told[-1] is None:
            line.arrive(Turn("modest", SEATS))
    assert told == [None] * 4 + [Refusal.OVER_SHARE] * 2, "one fewer than the other has"
    assert line.refusal("greedy", SEATS, is_crowded=True) is Refusal.OVER_SHARE


def test_many_clients_together_are_a_crowd_as_one_is() -> None:
    line = held_by("a", "b", "c", "d", "e")
    assert line.refusal("f", SEATS, is_crowded=True) is Refusal.CROWDED
    assert held_by("a").refusal("b", SEATS, is_crowded=True) is None, "each may have half of the seats"


async def test_whoever_waits_for_too_long_is_told_and_a_patient_one_goes_on_to_wait() -> None:
    seats = Seats(1, 2, crowded_places=1, wait_s=0.01)
    entered = []

    async def grade() -> None:
        async with seats.taken("a", 1, is_patient=True):
            entered.append("grading")

    async with seats.taken("a", 1):
        patient = asyncio.create_task(grade())
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            async with seats.taken("a", 1):
                raise AssertionError("there is one seat")
        assert (refused.value.refusal, str(refused.value)) == (
            Refusal.LATE, "No slot became free within 0.01 seconds; try again",
        )  # fmt: skip
        assert (seats.line.waiting, seats.line.impatient) == (1, 0)
    await patient
    assert entered == ["grading"]


async def test_seats_without_bounds_know_no_crowd() -> None:
    seats = Seats(1)
    async with seats.taken("a", 1):
        for _ in range(100):
            seats.check("a", 1)
        assert not seats.is_crowded


async def test_who_has_a_seat_and_waits_on_in_it_counts_as_waiting() -> None:
    waiting_on = 0
    seats = Seats(2, 4, crowded_places=1, waiting_on=lambda: waiting_on)
    async with seats.taken("a", 2):
        async with seats.taken("a", 2):
            waiting = [asyncio.create_task(seats.taken("a", 2).__aenter__()) for _ in range(4)]
            await asyncio.sleep(0)
            with pytest.raises(Refused, match="All 2 slots are busy and 4 requests wait"):
                seats.check("a", 2)
            assert seats.is_crowded
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        seats.check("a", 2)
        waiting_on = 1
        with pytest.raises(Refused, match="More requests come than can run"):
            seats.check("a", 2)
        seats.check("a", 2, is_patient=True)
