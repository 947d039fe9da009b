"""Who gets which jail, event by event, without root and with a clock of our own."""

from __future__ import annotations

import itertools
import random

import pytest

from daemon.keeper import pool_events as ev
from daemon.keeper import pool_state as ps
from daemon.keeper.machine import TICK

PATIENCE_S = 10.0


class Shop:
    """Feeds events and carries out what is decided: starts are remembered, and made real by `park` or `refuse`."""

    def __init__(self, wanted: int = 2, is_measured: bool = True) -> None:
        self.now = 100.0
        self.state = ps.State(wanted, 2, PATIENCE_S, is_measured)
        self.starting: dict[int, ev.Start] = {}
        self.given: dict[int, int] = {}  # key by ticket
        self.denied: dict[int, str] = {}
        self.destroyed: set[int] = set()
        self.hurried: set[int] = set()

    def feed(self, event: object) -> Shop:
        self.state, effects = ps.decide(self.state, event, self.now)  # type: ignore[arg-type]
        for effect in effects:
            match effect:
                case ev.Start(key):
                    self.starting[key] = effect
                case ev.Give(key, ticket):
                    assert ticket not in self.given
                    assert key not in self.given.values(), "a jail is given once"
                    self.given[ticket] = key
                case ev.Deny(ticket, _, reason):
                    self.denied[ticket] = reason
                case ev.Destroy(key):
                    self.destroyed.add(key)
                case ev.Hurry(key):
                    self.hurried.add(key)
        return self

    def open(self) -> Shop:
        return self.feed(ev.Wardens(None))

    def park(self, is_stale: bool = False) -> Shop:
        """All that are starting become ready."""
        while self.starting:
            key = min(self.starting)
            del self.starting[key]
            self.feed(ev.IsParked(key, is_stale))
        return self

    def refuse(self) -> Shop:
        """All that are starting now fail."""
        for key in list(self.starting):
            del self.starting[key]
            self.feed(ev.Refused(key, "make", "no memory"))
        return self

    def wait(self) -> Shop:
        due = ps.due(self.state)
        assert due is not None
        self.now = max(self.now, due)
        return self.feed(TICK)


def test_nothing_is_started_without_a_warden_and_all_that_are_wanted_with_one() -> None:
    shop = Shop(wanted=5)
    assert not shop.starting
    shop.open()
    assert len(shop.starting) == 2, "a few at a time"
    shop.park()
    assert len(shop.state.parked) == 5


def test_the_oldest_parked_jail_is_given_at_once_and_made_anew() -> None:
    shop = Shop().open().park()
    first = shop.state.parked[0]
    shop.feed(ev.Acquire(7))
    assert shop.given == {7: first}
    shop.wait().park()
    assert len(shop.state.parked) == 2


def test_who_waits_is_served_in_the_order_of_arrival() -> None:
    shop = Shop(wanted=0).open()
    for ticket in (1, 2, 3):
        shop.feed(ev.Acquire(ticket))
    assert [start.is_background for start in shop.starting.values()] == [False, True, True], "as many as wait"
    shop.park()
    assert list(shop.given) == [1, 2, 3]


def test_jails_give_way_while_they_start_until_less_than_half_is_left() -> None:
    """Beside others' work one that gives way is never ready, and whoever came then waited for a whole start; and many
    that do not would leave little to others' runs."""
    shop = Shop(wanted=4).open()
    assert [start.is_background for start in shop.starting.values()] == [False, True], "none is left"
    shop.park()
    shop.hurried.clear()
    shop.feed(ev.Acquire(1)).feed(ev.Acquire(2)).wait()
    assert [start.is_background for start in shop.starting.values()] == [True, True]
    assert not shop.hurried
    shop.feed(ev.Acquire(3))
    first, second = shop.starting
    assert shop.hurried == {first}
    del shop.starting[first]
    shop.feed(ev.IsParked(first)).feed(ev.Acquire(4))
    assert shop.hurried == {first, second}


def test_while_enough_are_left_the_next_jail_is_started_when_the_run_is_over() -> None:
    shop = Shop(wanted=4).open().park()
    start = shop.now
    shop.feed(ev.Acquire(1))
    assert not shop.starting and ps.due(shop.state) == start + ps.REFILL_S
    shop.now = start + 0.040
    shop.feed(ev.RunEnded())
    assert not shop.starting and ps.due(shop.state) == shop.now + ps.REFILL_AFTER_RUN_S
    shop.wait()
    assert [start.is_background for start in shop.starting.values()] == [True]


def test_a_run_that_takes_long_keeps_no_jail_from_being_started() -> None:
    shop = Shop(wanted=4).open().park()
    start = shop.now
    shop.feed(ev.Acquire(1)).wait()
    assert shop.now == start + ps.REFILL_S and len(shop.starting) == 1
    shop.park().feed(ev.RunEnded())
    assert not shop.starting and ps.due(shop.state) is None


def test_the_next_jails_are_started_at_once_where_few_are_left() -> None:
    shop = Shop(wanted=4).open().park()
    for ticket in range(1, 4):
        shop.feed(ev.Acquire(ticket))
    assert len(shop.starting) == 2, "a few at a time"


def test_whoever_waits_for_a_jail_that_starts_has_no_other_started_for_him() -> None:
    shop = Shop(wanted=2).open().feed(ev.Acquire(1))
    assert len(shop.starting) == 2
    assert list(shop.park().given) == [1]


def test_who_is_patient_leaves_the_last_parked_jails_to_others() -> None:
    """A grading took each jail as soon as it was ready, and another client's single run waited behind its next tests."""
    shop = Shop(wanted=6).open().park()
    for ticket in range(1, 6):
        shop.feed(ev.Acquire(ticket, is_patient=True))
    assert list(shop.given) == [1, 2, 3, 4], "two are kept, a third of six"
    shop.feed(ev.Acquire(6))
    assert list(shop.given) == [1, 2, 3, 4, 6], "whoever is not patient gets one at once"


def test_who_has_other_runs_leaves_the_last_parked_jail_to_others_and_is_served_after_them() -> None:
    shop = Shop(wanted=2).open().park()
    shop.feed(ev.Acquire(1, sharing=2))
    assert list(shop.given) == [1]
    shop.feed(ev.Acquire(2, sharing=3)).feed(ev.Acquire(3, sharing=2)).feed(ev.Acquire(4))
    assert list(shop.given) == [1, 4], "the last parked one is his who has nothing else"
    shop.park()
    assert list(shop.given) == [1, 4, 3, 2]


def test_what_starts_for_who_has_other_runs_gives_way_until_others_wait_or_few_are_left() -> None:
    shop = Shop(wanted=2).open().park()
    shop.hurried.clear()
    shop.feed(ev.Acquire(1, sharing=2)).feed(ev.Acquire(2, sharing=3))
    first, *_ = shop.starting
    assert all(start.is_background for start in shop.starting.values()) and not shop.hurried
    shop.feed(ev.Acquire(3))
    assert shop.hurried == {first}, "none is left"


def test_who_has_other_runs_gives_way_for_a_while_only() -> None:
    shop = Shop(wanted=2).open().park().feed(ev.Acquire(1)).feed(ev.Acquire(2, sharing=2))
    came_s, (starting,) = shop.now + ps.SHARING_S, shop.starting
    shop.hurried.clear()
    assert list(shop.given) == [1] and len(shop.state.parked) == 1
    shop.wait()
    assert shop.now == came_s + ps.YIELD_S and list(shop.given) == [1, 2], "the last parked one, while another starts"
    assert shop.hurried == {starting}, "none is left"


def test_who_is_patient_and_has_other_runs_stays_patient() -> None:
    shop = Shop(wanted=6).open().park()
    for ticket in range(1, 7):
        shop.feed(ev.Acquire(ticket, is_patient=True, sharing=2))
    shop.wait()
    assert ps.due(shop.state) != shop.now and len(shop.state.parked) == 2, "a third is left to single runs"


def test_a_jail_with_limits_of_its_own_gives_way_for_a_while_only() -> None:
    shop = Shop(wanted=0).open().feed(ev.Acquire(1, is_own=True, sharing=2))
    (starting,) = shop.starting
    shop.wait()
    assert shop.hurried == {starting} and not shop.denied


def test_without_a_warden_who_has_other_runs_gets_what_is_parked() -> None:
    shop = Shop(wanted=2).open().park().feed(ev.Acquire(1)).feed(ev.Wardens("none")).feed(ev.Acquire(2, sharing=2))
    assert list(shop.given) == [1, 2] and not shop.denied


def test_who_has_other_runs_is_served_before_those_that_come_much_later() -> None:
    shop = Shop(wanted=0).open().feed(ev.Acquire(1, sharing=3))
    shop.now += 3 * ps.SHARING_S
    shop.feed(ev.Acquire(2)).park()
    assert list(shop.given) == [1, 2]


def test_jails_with_limits_of_their_own_give_way_while_they_start_but_the_first_of_a_client() -> None:
    shop = Shop(wanted=0).open().feed(ev.Acquire(1, is_own=True)).feed(ev.Acquire(2, is_own=True, sharing=2))
    assert [start.is_background for start in shop.starting.values()] == [False, True]


def test_while_few_are_kept_every_second_jail_that_becomes_ready_is_whose_who_waits_patiently() -> None:
    shop = Shop(wanted=6).open()
    for ticket in range(1, 4):
        shop.feed(ev.Acquire(ticket, is_patient=True))
    while len(shop.given) < 3:
        key = min(shop.starting)
        del shop.starting[key]
        shop.feed(ev.IsParked(key))
    assert (list(shop.given), len(shop.state.parked)) == ([1, 2, 3], 2), "kept, given, kept, given, given"


def test_nothing_is_kept_where_there_is_no_room_or_its_warden_goes() -> None:
    for change in (lambda shop: shop.feed(ev.Room(False)), lambda shop: shop):
        shop = change(Shop(wanted=6).open().feed(ev.Acquire(1, is_patient=True)))
        key = min(shop.starting)
        shop.feed(ev.IsParked(key, is_stale=shop.state.has_room))
        assert shop.given == {1: key}


def test_who_is_patient_gets_a_kept_jail_where_the_one_started_for_him_fails() -> None:
    shop = Shop(wanted=6).open().park()
    for ticket in range(1, 6):
        shop.feed(ev.Acquire(ticket, is_patient=True))
    assert 5 not in shop.given
    shop.refuse()
    assert 5 in shop.given and not shop.denied


def test_nobody_who_is_patient_waits_for_ever_while_others_take_whatever_is_parked() -> None:
    shop = Shop(wanted=6).open().feed(ev.Acquire(0, is_patient=True))
    for ticket in range(1, 4):
        key = min(shop.starting)
        del shop.starting[key]
        shop.feed(ev.IsParked(key)).feed(ev.Acquire(ticket))
    assert 0 in shop.given


def test_without_a_warden_nobody_waits_in_vain() -> None:
    shop = Shop().feed(ev.Wardens("it is broken")).feed(ev.Acquire(1))
    assert shop.denied == {1: "it is broken"}
    shop = Shop(is_measured=False).open().feed(ev.Acquire(2)).feed(ev.Wardens("it died"))
    assert shop.denied == {2: "it died"}


def test_one_jail_less_is_one_denial_and_the_others_still_get_theirs() -> None:
    shop = Shop(wanted=0).open()
    for ticket in (1, 2):
        shop.feed(ev.Acquire(ticket))
    key = min(shop.starting)
    del shop.starting[key]
    shop.feed(ev.Refused(key, "make", "no memory"))
    assert shop.denied == {1: "no memory"}
    assert list(shop.park().given) == [2]


def test_a_pool_is_full_again_after_refusals_without_another_request() -> None:
    shop = Shop(wanted=3).open()
    for _ in range(4):
        shop.refuse()
        assert not shop.starting
        shop.wait()
        assert shop.starting
    shop.park()
    assert len(shop.state.parked) == 3


def test_failures_are_repeated_ever_more_slowly_and_for_ever() -> None:
    shop = Shop().open()
    pauses = []
    for _ in range(2000):
        shop.refuse()
        due = ps.due(shop.state)
        assert due is not None
        pauses.append(due - shop.now)
        shop.wait()
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(pauses))
    assert pauses[-1] == pytest.approx(ps.RETRY_S_MAX)


def test_a_new_warden_makes_earlier_failures_forgotten() -> None:
    shop = Shop().open()
    for _ in range(9):
        shop.refuse()
        if ps.due(shop.state) is not None:
            shop.wait()
    shop.refuse().feed(ev.Wardens(None))
    assert shop.starting


def test_what_is_parked_with_a_warden_that_goes_is_destroyed_and_replaced() -> None:
    shop = Shop().open().park()
    lost = shop.state.parked[0]
    shop.feed(ev.Wardens(None, (lost,)))
    assert shop.destroyed == {lost}
    assert shop.starting
    shop.feed(ev.IsParked(shop.starting.popitem()[0], is_stale=True))
    assert len(shop.state.parked) == 1, "a jail of a warden that is being replaced is not kept"


def test_no_more_are_parked_than_have_room() -> None:
    shop = Shop(wanted=3).feed(ev.Room(False)).open()
    assert not shop.starting
    assert shop.feed(ev.Acquire(1)).starting, "but who waits is served"
    shop.feed(ev.Room(True))
    assert len(shop.starting) == 2


def test_who_waits_too_long_is_denied() -> None:
    shop = Shop(is_measured=False).open().feed(ev.Acquire(1)).wait()
    assert shop.now == 100.0 + PATIENCE_S
    assert shop.denied == {1: "no jail within 10 s"}


def test_who_has_gone_gets_nothing_and_what_was_made_for_him_is_kept_or_destroyed() -> None:
    shop = Shop(wanted=0).open().feed(ev.Acquire(1)).feed(ev.Cancel(1)).park()
    assert (shop.given, shop.denied, len(shop.destroyed)) == ({}, {}, 1)
    shop = Shop(wanted=1).open().feed(ev.Acquire(1)).feed(ev.Cancel(1)).park()
    assert (len(shop.state.parked), shop.destroyed) == (1, set())


def test_a_jail_of_his_own_is_for_him_alone() -> None:
    shop = Shop().open().park()
    shop.feed(ev.Acquire(1, is_own=True))
    (own,) = [start for start in shop.starting.values() if start.ticket == 1]
    assert not own.is_background
    shop.feed(ev.Acquire(2))
    assert shop.given[2] != own.key
    del shop.starting[own.key]
    shop.feed(ev.IsParked(own.key))
    assert shop.given[1] == own.key


def test_a_jail_of_his_own_is_destroyed_when_he_goes_and_denied_when_it_fails() -> None:
    shop = Shop(wanted=0).open().feed(ev.Acquire(1, is_own=True)).feed(ev.Cancel(1))
    assert len(shop.destroyed) == 1
    shop = Shop(wanted=0).open().feed(ev.Acquire(1, is_own=True)).refuse()
    assert shop.denied == {1: "no memory"}


def test_a_closed_pool_denies_destroys_and_starts_nothing() -> None:
    shop = Shop(wanted=2).open().park().feed(ev.Acquire(1)).feed(ev.Acquire(2)).feed(ev.Acquire(3))
    started = len(shop.starting)
    shop.feed(ev.Close()).feed(ev.Acquire(4))
    assert {3, 4} <= shop.denied.keys()
    assert len(shop.starting) == started
    assert ps.due(shop.state) is None


def test_whatever_happens_everybody_gets_one_answer_and_the_pool_is_full_in_the_end() -> None:
    """Ten thousand random events, then quiet: no ticket is lost, no jail forgotten."""
    rng = random.Random(20261127)
    shop = Shop(wanted=3).open()
    tickets = 0
    forgotten: set[int] = set()
    for _ in range(10_000):
        match rng.randrange(9):
            case 0 | 1 | 2:
                tickets += 1
                shop.feed(ev.Acquire(tickets, is_own=rng.random() < 0.2))
            case 3 | 4 if shop.starting:
                key = rng.choice(list(shop.starting))
                del shop.starting[key]
                shop.feed(
                    ev.IsParked(key, rng.random() < 0.1) if rng.random() < 0.7 else ev.Refused(key, "make", "bad luck")
                )
            case 5 if shop.state.waiting:
                ticket = rng.choice(shop.state.waiting).ticket
                forgotten.add(ticket)
                shop.feed(ev.Cancel(ticket))
            case 6:
                shop.feed(ev.Wardens(rng.choice([None, "gone"]), shop.state.parked[:1]))
            case 7 if ps.due(shop.state) is not None:
                shop.wait()
            case 8:
                shop.feed(ev.Room(rng.random() < 0.7))
    shop.feed(ev.Room(True)).feed(ev.Wardens(None))
    for _ in range(100):
        shop.park()
        if ps.due(shop.state) is None:
            break
        shop.wait()
    assert len(shop.state.parked) == 3
    assert not shop.state.waiting
    answered = shop.given.keys() | shop.denied.keys()
    assert answered | forgotten == set(range(1, tickets + 1))
    assert not shop.given.keys() & shop.denied.keys()


@pytest.mark.parametrize("is_limit", [True, False])
def test_a_jail_that_ends_while_it_starts_for_a_ticket_of_its_own_is_no_failure_of_the_pool(is_limit: bool) -> None:
    """One client's limits, below what the runtime needs, delay no start of a jail for others."""
    shop = Shop(wanted=0).open().feed(ev.Acquire(1, is_own=True))
    refused = ev.Refused(min(shop.starting), "limits", "too little", is_limit)
    _, effects = ps.decide(shop.state, refused, shop.now)
    assert effects == [ev.Deny(1, "limits", "too little", is_limit)]
    shop.feed(refused)
    assert (shop.state.failures, shop.state.retry_s, shop.state.waiting) == (0, None, ())
