"""Control groups that have served a jail and wait for the next: to make and remove one costs a tenth of a short run."""

import contextlib
import itertools
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

KEPT_MAX = 64
LEFT_BYTES_MAX = 1 << 20  # the kernel charges in advance, 256 KB for each processor that a jail has run on
PEAK_PROCESSES_MAX = 16  # pids.peak cannot be forgotten, and tells whether a later jail has met a limit that is above


class Keepable(Protocol):
    """What is asked of a group here; see Group in __init__.py."""

    def is_as_new(self) -> bool: ...

    def renew(self) -> bool: ...

    def remove(self) -> bool: ...


G = TypeVar("G", bound=Keepable)


class Kept(Generic[G]):
    """`make` makes one of a name that nothing had before, or raises OSError. Nobody has one while it is kept."""

    def __init__(self, make: Callable[[str], G]) -> None:
        self._make = make
        self._numbers = itertools.count(1)
        self._kept: list[G] = []
        self._leaving: list[G] = []  # could not be removed yet; only what was kept comes here

    def __repr__(self) -> str:
        return f"<Kept: {len(self._kept)} groups, {len(self._leaving)} leave>"

    def take(self) -> G:
        """Raises OSError where a new one is needed and cannot be made."""
        self._leaving = [group for group in self._leaving if not group.remove()]
        for group in self._kept[::-1]:  # the last that was given first: what the kernel needs for it is in the caches
            try:
                if group.renew():
                    self._kept.remove(group)
                    return group
            except OSError:  # somebody has removed it
                self._kept.remove(group)
                if not group.remove():
                    self._leaving.append(group)
        return self._make(f"jails-{next(self._numbers)}")

    def keep(self, group: G) -> bool:
        """Keep one whose processes have ended. False: it is not as new, or enough are kept, and it is to be removed."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if len(self._kept) < KEPT_MAX and group.is_as_new():
                self._kept.append(group)
                return True
        return False
