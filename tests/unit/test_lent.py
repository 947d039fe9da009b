"""What a warden lends: nothing is lent to two live jails."""

import pytest

from daemon.keeper.lent import FIRST_UID, LAST_UID, Lender, Lent


def test_nothing_is_lent_to_two_live_jails() -> None:
    lender = Lender(3)
    lent = [lender.take() for _ in range(3)]
    assert len({one.uid for one in lent}) == len({one.network for one in lent}) == 3
    lender.give(lent[1])
    again = lender.take()
    assert again.uid not in {one.uid for one in lent}
    assert again.network == lent[1].network


def test_the_lowest_network_is_lent_first_so_that_few_are_made() -> None:
    lender = Lender(8)
    one, two, three = (lender.take() for _ in range(3))
    for given in (three, one, two):
        lender.give(given)
    assert [lender.take().network for _ in range(3)] == [1, 2, 3]


def test_a_jail_beyond_those_that_there_are_has_a_network_of_its_own() -> None:
    lender = Lender(1)
    first, own = lender.take(), lender.take()
    assert (first.network, own.network) == (1, 0)
    lender.give(own)
    assert lender.take().network == 0
    assert Lender(0).take().network == 0


def test_a_uid_that_was_given_back_is_lent_again_as_late_as_possible() -> None:
    lender = Lender(0)
    for uid in range(FIRST_UID, LAST_UID):
        lent = lender.take()
        assert lent == Lent(uid, 0)
        lender.give(lent)
    assert lender.take().uid == FIRST_UID


def test_a_jail_without_a_uid_is_lent_nothing() -> None:
    lender = Lender(LAST_UID)
    lent = [lender.take() for _ in range(LAST_UID - FIRST_UID)]
    with pytest.raises(OSError, match="every uid"):
        lender.take()
    lender.give(lent[0])
    assert lender.take() == lent[0]
