"""When more come than can be served, few wait and the others are told at once; a burst waits, and so do gradings."""

import asyncio
import dataclasses
import heapq
import itertools
import random

import pytest

from daemon.turns.crowd import Crowd
from daemon.turns.line import Line, Refusal, State, Turn
from daemon.turns.seats import Refused, Seats

SEATS, PLACES, CROWDED = 4, 64, 1
SERVICE_S = 0.016


@dataclasses.dataclass
class Seen:
    """Of all that came in so many seconds: how long those that were served had waited, and who was refused."""

    waited_s: list[float]
    refused: int

    def waited_at_most(self, part: float) -> float:
        """By so large a part of those that were served."""
        return sorted(self.waited_s)[int(part * len(self.waited_s))]

    @property
    def refused_part(self) -> float:
        return self.refused / (self.refused + len(self.waited_s))


class Simulated:
    """A line and its crowd on a clock of their own, as seats.py has them; each that is served takes about SERVICE_S."""

    def __init__(self) -> None:
        self.line, self.crowd = Line(SEATS, PLACES), Crowd(SEATS, PLACES)
        self.now_s = 1000.0
        self._ends: list[tuple[float, int, Turn]] = []
        self._numbers = itertools.count()
        self._came_s: dict[Turn, float] = {}
        self._random = random.Random(1)

    def come(self, seen: Seen, client: str = "a", is_patient: bool = False) -> Refusal | None:
        self.crowd.pass_time(self.now_s, self.line.seated)
        places = CROWDED if self.crowd.stands and not is_patient else None
        refusal = self.line.refusal(client, SEATS, places)
        self.crowd.come(self.line.is_full)
        if refusal is not None:
            seen.refused += 1
            return refusal
        turn = Turn(client, SEATS, is_patient)
        self._came_s[turn] = self.now_s
        self.line.arrive(turn)
        self._serve(turn, seen)
        return None

    def go_to(self, moment_s: float, seen: Seen) -> None:
        while self._ends and self._ends[0][0] <= moment_s:
            self.now_s, _, turn = heapq.heappop(self._ends)
            self.crowd.pass_time(self.now_s, self.line.seated)
            self.crowd.end()
            self._serve(self.line.leave(turn), seen)
        self.now_s = moment_s

    def _serve(self, turn: Turn | None, seen: Seen) -> None:
        if turn is not None and turn.state is State.SEATED:
            seen.waited_s.append(self.now_s - self._came_s.pop(turn))
            end_s = self.now_s + SERVICE_S * self._random.uniform(0.5, 1.5)
            heapq.heappush(self._ends, (end_s, next(self._numbers), turn))

    def offer(self, load: float, seconds: float, regular: bool = False) -> Seen:
        """`load` is the capacity, so many times; arrivals are Poisson's or regular."""
        seen, until_s, gap_s = Seen([], 0), self.now_s + seconds, SERVICE_S / SEATS / load
        while self.now_s < until_s:
            self.go_to(self.now_s + (gap_s if regular else self._random.expovariate(1 / gap_s)), seen)
            self.come(seen)
        return seen


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("load", [1.3, 2.0, 10.0])
def test_beyond_capacity_who_is_served_waits_for_about_as_long_as_one_is_served(load: float, regular: bool) -> None:
    """Once the burst that it began with is over, whose end is the same as without any crowd."""
    simulated = Simulated()
    simulated.offer(load, 4, regular)
    seen = simulated.offer(load, 20, regular)
    assert seen.waited_at_most(0.99) < SERVICE_S
    assert len(seen.waited_s) / 20 > 0.8 * SEATS / SERVICE_S, "the seats are not idle"


@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_below_capacity_nobody_is_refused_for_long_after_an_overload(load: float) -> None:
    simulated = Simulated()
    simulated.offer(2.0, 10)
    assert simulated.crowd.stands
    simulated.offer(load, 5)
    assert not simulated.crowd.stands
    assert simulated.offer(load, 30).refused == 0


def test_a_burst_that_fits_into_the_places_is_no_crowd() -> None:
    simulated, seen = Simulated(), Seen([], 0)
    for _ in range(20):
        refusals = [simulated.come(seen) for _ in range(SEATS + PLACES)]
        assert set(refusals) == {None}
        simulated.go_to(simulated.now_s + 2 * (SEATS + PLACES) * SERVICE_S / SEATS, seen)
    assert not simulated.crowd.stands


def test_a_burst_beyond_the_places_is_a_crowd_until_it_is_served() -> None:
    simulated, seen = Simulated(), Seen([], 0)
    refusals = [simulated.come(seen) for _ in range(SEATS + PLACES + 10)]
    assert refusals.count(None) == SEATS + PLACES and refusals[-1] is Refusal.CROWDED
    assert simulated.come(seen, is_patient=True) is Refusal.FULL
    simulated.go_to(simulated.now_s + 0.9 * PLACES * SERVICE_S / SEATS, seen)
    assert simulated.come(seen) is None


def test_after_a_long_silence_there_is_no_crowd() -> None:
    simulated = Simulated()
    simulated.offer(2.0, 10)
    simulated.go_to(simulated.now_s + 1e6, seen := Seen([], 0))
    assert {simulated.come(seen) for _ in range(SEATS + PLACES)} == {None}


def in_a_crowd(places: int = PLACES) -> Line:
    line = Line(SEATS, places)
    for _ in range(SEATS + CROWDED):
        line.arrive(Turn("greedy", SEATS))
    return line


def test_in_a_crowd_a_grading_may_wait_and_a_single_run_may_not() -> None:
    line = in_a_crowd()
    assert line.refusal("greedy", SEATS, CROWDED) is Refusal.CROWDED
    for _ in range(PLACES - CROWDED):
        assert line.refusal("greedy", SEATS) is None
        line.arrive(Turn("greedy", SEATS, is_patient=True))
    assert (line.impatient, line.waiting) == (CROWDED, PLACES)
    assert line.refusal("greedy", SEATS) is Refusal.FULL


def test_a_crowd_of_one_clients_keeps_no_other_out_until_that_has_its_share() -> None:
    line = in_a_crowd()
    for _ in range(3):  # of five seats and places that two share
        assert line.refusal("modest", SEATS, CROWDED) is None
        line.arrive(Turn("modest", SEATS))
    assert line.refusal("modest", SEATS, CROWDED) is Refusal.OVER_SHARE
    assert line.refusal("greedy", SEATS, CROWDED) is Refusal.OVER_SHARE
    assert line.refusal("third", SEATS, CROWDED) is None


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
