"""Seats and places are divided evenly among clients, and what is decided is what happens to those who wait."""

import asyncio
import random
from collections import Counter

import pytest

from daemon.turns.line import Line, Refusal, State, Turn
from daemon.turns.seats import Refused, Seats


def arrive(line: Line, client: str, count: int = 1, seats_max: int = 100) -> list[Turn]:
    turns = [Turn(client, seats_max) for _ in range(count)]
    for turn in turns:
        assert line.refusal(client, seats_max) is None
        assert line.arrive(turn) is None
    return turns


def seated(turns: list[Turn]) -> int:
    return sum(turn.state is State.SEATED for turn in turns)


def test_one_client_alone_may_have_all_seats_and_all_places() -> None:
    line = Line(4, 3)
    turns = arrive(line, "a", 7)
    assert (seated(turns), line.seated, line.waiting) == (4, 4, 3)
    assert line.refusal("a", 100) is Refusal.FULL


def test_the_turns_of_one_client_come_in_the_order_of_arrival() -> None:
    line = Line(1)
    first, *others = arrive(line, "a", 5)
    for following in others:
        assert line.leave(first) is following
        first = following


def test_a_free_seat_goes_to_the_client_that_holds_the_fewest() -> None:
    line = Line(4)
    greedy = arrive(line, "greedy", 10)
    modest = arrive(line, "modest", 3)
    for turn in greedy[:2]:
        line.leave(turn)
    assert (seated(greedy), seated(modest)) == (2, 2)
    line.leave(modest[0])
    assert modest[2].state is State.SEATED
    line.leave(modest[1])
    assert (seated(greedy), seated(modest)) == (3, 1)


def test_a_client_that_holds_nothing_does_not_wait_for_what_another_runs() -> None:
    """The seats of one that goes on for a minute are not given back before."""
    line = Line(2, 8, spare=1)
    greedy = arrive(line, "greedy", 4)
    modest = arrive(line, "modest", 2)
    late = arrive(line, "late")
    assert (seated(greedy), seated(modest), seated(late), line.seated) == (2, 1, 0, 3)
    line.leave(modest[0])
    assert (seated(greedy), seated(modest[1:]), seated(late)) == (2, 1, 0)
    line.leave(greedy[0])
    assert (seated(greedy[1:]), seated(modest[1:]), seated(late)) == (1, 1, 1), "nobody has two while another has none"
    line.leave(late[0])
    assert (seated(greedy[1:]), line.seated) == (1, 2), "the spare seat is for nobody who has one"


def test_a_client_that_has_less_than_its_share_gets_spare_seats_up_to_it() -> None:
    """A page with several requests at once does not wait for its own first while others' programs sleep."""
    line = Line(4, 8, spare=2)
    greedy = arrive(line, "greedy", 8)
    modest = arrive(line, "modest", 3)
    assert (seated(greedy), seated(modest)) == (4, 2)
    line.leave(greedy[0])
    assert (seated(greedy[1:]), seated(modest)) == (3, 2), "five of four are seated still"
    line.leave(greedy[1])
    assert (seated(greedy[2:]), seated(modest)) == (2, 2), "an equal share of four"
    line.leave(modest[0])
    assert (seated(greedy[2:]), seated(modest[1:])) == (2, 2)


def test_clients_with_as_many_seats_are_served_in_turn() -> None:
    line = Line(1)
    (running,) = arrive(line, "a")
    for name in "abc" * 3:
        arrive(line, name)
    served = []
    while (following := line.leave(running)) is not None:
        running = following
        served.append(running.client)
    assert "".join(served) == "abc" * 3


def test_who_waits_is_not_overtaken_for_ever_by_clients_that_come_and_go() -> None:
    line = Line(1)
    (running,) = arrive(line, "first")
    patient = arrive(line, "patient", 3)
    for number in range(6):
        arrive(line, f"brief {number}")
        following = line.leave(running)
        assert following is not None
        running = following
    assert [turn.state for turn in patient] == [State.LEFT, State.LEFT, State.SEATED]


def test_no_client_gets_more_than_its_most_seats_and_others_get_the_rest() -> None:
    line = Line(4, 2)
    capped = arrive(line, "capped", 4, seats_max=2)
    assert (seated(capped), line.waiting) == (2, 2)
    assert line.refusal("capped", 2) is Refusal.OVER_SHARE
    others = arrive(line, "other", 2)
    assert seated(others) == 2, "they overtake who may not have the free seats"
    assert line.leave(others[0]) is None
    assert line.leave(capped[0]) is capped[2]


def test_who_has_fewer_places_takes_one_from_who_has_the_most() -> None:
    line = Line(1, 4)
    greedy = arrive(line, "greedy", 5)
    (first, second) = Turn("late", 1), Turn("late", 1)
    assert line.arrive(first) is greedy[4]
    assert line.arrive(second) is greedy[3]
    assert (greedy[4].state, first.state, line.waiting) == (State.DISPLACED, State.WAITING, 4)
    assert line.refusal("late", 1) is line.refusal("greedy", 1) is Refusal.OVER_SHARE, "two places each"
    assert line.refusal("third", 1) is None
    assert line.leave(greedy[4]) is None


def test_when_every_place_is_another_clients_the_line_is_full() -> None:
    line = Line(1, 3)
    for name in ("running", "a", "b", "c"):
        arrive(line, name)
    assert line.refusal("d", 1) is Refusal.FULL


def test_without_places_nobody_is_displaced() -> None:
    line = Line(1, 0)
    arrive(line, "a")
    assert line.refusal("b", 1) is line.refusal("a", 1) is Refusal.FULL


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_seat_is_lost_and_no_seat_is_free_for_who_waits(seed: int, spare: int) -> None:
    random.seed(seed)
    line, turns = Line(5, 12, spare), list[Turn]()
    most = {"a": 1, "b": 3, "c": 5, "d": 5}
    for _ in range(2000):
        if random.random() < 0.6:
            turn = Turn(name := random.choice("abcd"), most[name])
            if line.refusal(name, most[name]) is None:
                line.arrive(turn)
                turns.append(turn)
        elif turns:
            line.leave(turns.pop(random.randrange(len(turns))))
        seats = Counter(turn.client for turn in turns if turn.state is State.SEATED)
        waiting = Counter(turn.client for turn in turns if turn.state is State.WAITING)
        assert (seats.total(), waiting.total()) == (line.seated, line.waiting)
        assert line.seated <= 5 + spare and line.waiting <= 12
        assert line.seated >= 5 or all(seats[name] >= most[name] for name in waiting)
        assert line.seated >= 5 + spare or all(seats[name] for name in waiting), "who has none waits for no spare one"
    for turn in turns:
        line.leave(turn)
    assert repr(line) == "<Line: 0/5 seated, 0/12 waiting>"
    assert not line._clients, "nobody is remembered who has nothing"


async def test_who_is_displaced_while_waiting_is_told() -> None:
    seats = Seats(1, 2)
    entered = []

    async def take(client: str) -> None:
        async with seats.taken(client, 1):
            entered.append(client)

    async with seats.taken("greedy", 1):
        waiting = [asyncio.create_task(take("greedy")) for _ in range(2)]
        await asyncio.sleep(0)
        late = asyncio.create_task(take("late"))
        with pytest.raises(Refused) as refused:
            await waiting[1]
        assert refused.value.refusal is Refusal.OVER_SHARE
    await asyncio.gather(waiting[0], late)
    assert entered == ["greedy", "late"]
    assert seats.line.seated == seats.line.waiting == 0


async def test_who_is_cancelled_with_a_seat_just_given_passes_it_on() -> None:
    seats = Seats(1)
    entered = asyncio.Event()

    async def take() -> None:
        async with seats.taken("a", 1):
            entered.set()

    async with seats.taken("a", 1) as seat:
        given, following = asyncio.create_task(take()), asyncio.create_task(take())
        await asyncio.sleep(0)
        seat.release()
        given.cancel()
        await asyncio.gather(given, return_exceptions=True)
        assert given.cancelled()
        await following
    assert entered.is_set()
    assert seats.line.seated == 0 and not seats._woken


async def test_a_seat_that_is_released_early_is_released_once() -> None:
    seats = Seats(1, 0)
    async with seats.taken("a", 1) as seat:
        seat.release()
        seat.release()
        async with seats.taken("b", 1):
            assert seats.line.seated == 1
            with pytest.raises(Refused):
                seats.check("a", 1)
    assert seats.line.seated == 0
