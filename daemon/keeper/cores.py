"""The cores for graded runs: each is one run's at a time, and who comes first has one first."""

import itertools
from collections.abc import Callable, Iterable

Taker = Callable[[int], None]  # hears the number of its core, perhaps at once


class Cores:
    """A run takes a core when its jail is parked, and gives it back when its outcome is known.

    Nobody is forgotten: whoever waits is killed by its peer's end or hears of its jail's, and cancels then.
    """

    def __init__(self, numbers: Iterable[int], pins: bool) -> None:
        self.numbers = tuple(numbers)
        self.pins = pins  # where the host cannot pin, cores only count how many run at once
        self._free = list(self.numbers)
        self._waiting: dict[int, Taker] = {}  # by ticket; a dict keeps the order in which they came
        self._tickets = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Cores: {len(self._free)} free, {len(self._waiting)} wait>"

    def take(self, taker: Taker) -> int | None:
        """None where it was given a core at once, else a ticket for `cancel`."""
        if self._free:
            taker(self._free.pop(0))
            return None
        ticket = next(self._tickets)
        self._waiting[ticket] = taker
        return ticket

    def cancel(self, ticket: int) -> None:
        """It waits no more, and hears nothing."""
        self._waiting.pop(ticket, None)

    def give(self, core: int) -> None:
        """Back, and on to whoever waits longest."""
        if self._waiting:
            self._waiting.pop(next(iter(self._waiting)))(core)
        else:
            self._free.append(core)
