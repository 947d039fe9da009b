"""How many requests a client may send in a minute, by a clock that the test turns."""

import pytest

from daemon.api import rate
from daemon.api.rate import Rates


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("quota", [1, 7, 60, 6000])
def test_a_minutes_requests_may_come_at_once_and_then_one_for_each_part_of_it(clock: Clock, quota: int) -> None:
    rates = Rates(clock)
    standings = [rates.count("a", quota) for _ in range(quota + 1)]
    assert [standing.left for standing in standings] == [*range(quota - 1, -1, -1), 0]
    assert [standing.wait_s for standing in standings[:-1]] == [None] * quota
    assert standings[-1].wait_s == pytest.approx(60 / quota)
    clock.now_s += 60 / quota
    assert rates.count("a", quota).wait_s is None
    assert rates.count("a", quota).wait_s is not None


def test_who_waits_as_long_as_he_is_told_is_never_refused_and_never_faster_than_the_quota(clock: Clock) -> None:
    rates, allowed, began_s = Rates(clock), 0, clock.now_s
    for _ in range(2000):
        standing = rates.count("a", 90)
        if standing.wait_s is None:
            allowed += 1
        else:
            clock.now_s += standing.wait_s
            assert rates.count("a", 90).wait_s is None
            allowed += 1
    assert allowed <= 90 + 90 * (clock.now_s - began_s) / 60 + 1


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    rates = Rates(clock)
    for _ in range(100):
        rates.count("a", 2)
    clock.now_s += 30
    assert rates.count("a", 2).wait_s is None


def test_clients_do_not_count_for_each_other_and_only_so_many_are_remembered(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate, "CLIENTS_MAX", 10)
    rates = Rates(clock)
    for number in range(100):
        assert rates.count(str(number), 1).wait_s is None
    assert repr(rates) == "<Rates: 10/10 clients>"
    assert rates.count("99", 1).wait_s is not None


def test_the_fields_are_those_of_the_draft(clock: Clock) -> None:
    rates = Rates(clock)
    rates.count("a", 120)
    assert rates.count("a", 120).fields("token") == {
        "RateLimit-Policy": '"token";q=120;w=60',
        "RateLimit": '"token";r=118;t=1',
    }
