"""Control groups that serve one jail after the other."""

import dataclasses
import itertools

import pytest

from daemon.host.cgroup.kept import KEPT_MAX, Kept


@dataclasses.dataclass(eq=False)
class Group:
    """What the kernel says of it."""

    name: str
    is_clean: bool = True
    is_there: bool = True
    is_empty: bool = True
    is_removable: bool = True
    is_removed: bool = False
    renewed: int = 0

    def is_as_new(self) -> bool:
        if not self.is_there:
            raise FileNotFoundError(self.name)
        return self.is_clean

    def renew(self) -> bool:
        if not self.is_there:
            raise FileNotFoundError(self.name)
        self.renewed += self.is_empty
        return self.is_empty

    def remove(self) -> bool:
        self.is_removed = self.is_removable
        return self.is_removable


def test_a_group_that_is_as_new_serves_the_next_jail_renewed() -> None:
    kept = Kept(Group)
    one = kept.take()
    assert one.renewed == 0
    assert kept.keep(one)
    assert kept.take() is one
    assert (one.renewed, one.is_removed) == (1, False)


def test_no_two_jails_have_the_same_group_and_no_two_groups_the_same_name() -> None:
    kept = Kept(Group)
    taken = [kept.take() for _ in range(5)]
    for group in taken[:3]:
        kept.keep(group)
    again = [kept.take() for _ in range(5)]
    assert set(map(id, again[:3])) == set(map(id, taken[:3]))
    assert len({group.name for group in [*taken, *again]}) == 7


@pytest.mark.parametrize("what", ["is_clean", "is_there"])
def test_a_group_in_which_something_happened_or_that_somebody_removed_serves_nobody_again(what: str) -> None:
    kept = Kept(Group)
    one = kept.take()
    setattr(one, what, False)
    assert not kept.keep(one)
    assert kept.take() is not one


def test_a_group_that_a_process_has_not_left_yet_waits_while_another_serves() -> None:
    kept = Kept(Group)
    one, two = kept.take(), kept.take()
    kept.keep(one)
    kept.keep(two)
    two.is_empty = False
    assert kept.take() is one
    third = kept.take()
    assert third not in (one, two)
    two.is_empty = True
    assert kept.take() is two


def test_a_group_that_was_removed_while_it_was_kept_is_passed_over_and_what_is_left_of_it_removed_later() -> None:
    """On v1 it is a directory in each hierarchy: somebody may have removed one, and be in another."""
    kept = Kept(Group)
    one, two = kept.take(), kept.take()
    kept.keep(one)
    kept.keep(two)
    two.is_there = two.is_removable = False
    assert kept.take() is one
    assert not two.is_removed
    two.is_removable = True
    kept.take()
    assert two.is_removed


def test_no_more_are_kept_than_that() -> None:
    kept = Kept(Group)
    taken = [kept.take() for _ in range(KEPT_MAX + 3)]
    assert [kept.keep(group) for group in taken] == [True] * KEPT_MAX + [False] * 3


def test_a_name_that_is_taken_is_refused_once_and_the_next_one_is_another() -> None:
    refusals = itertools.chain([True], itertools.repeat(False))

    def make(name: str) -> Group:
        if next(refusals):
            raise FileExistsError(name)
        return Group(name)

    kept = Kept(make)
    with pytest.raises(FileExistsError, match="jails-1"):
        kept.take()
    assert kept.take().name == "jails-2"
