"""Waits for a seat: performs what line.py and crowd.py decide."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from daemon.sandbox.errors import CellblockError

from .crowd import Crowd
from .line import Line, Refusal, State, Turn


class Refused(CellblockError):
    """There is no place to wait in; `refusal` tells whether the client has its share already."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


class Seat:
    """Held until `release` or the end of the `async with`, whichever comes first. `waited_ns`: how long it was waited
    for; `sharing`: how many its client held when it got this one, which is counted."""

    def __init__(self, seats: "Seats", turn: Turn, waited_ns: int) -> None:
        self._seats, self._turn, self.waited_ns = seats, turn, waited_ns
        self.sharing = seats.line.seated_of(turn.client)

    def release(self) -> None:
        """Give the seat to whom it belongs next. May be called again, and then does nothing."""
        self._seats.leave(self._turn)


class Seats:
    """`line` tells how many are seated and wait.

    `spare` more are there for clients that hold less than a share. At most `places` wait, each impatient one for at
    most `wait_s` seconds. While more come than can be served, no impatient one may come when `crowded_places` such
    wait: those that have a seat and wait on, which `waiting_on` tells the number of, are counted with them. `full` is
    what is said when all places are taken.
    """

    def __init__(
        self, seats: int, places: int | None = None, crowded_places: int | None = None, wait_s: float | None = None,
        waiting_on: Callable[[], int] = lambda: 0, spare: int = 0, full: str | None = None,
    ) -> None:  # fmt: skip
        self.line = Line(seats, places, spare)
        self._full = full or f"All {seats} slots are busy and {places} requests wait; try again"
        self._crowd = None if places is None or crowded_places is None else Crowd(places)
        self._crowded_places, self._waiting_on = crowded_places or 0, waiting_on
        self._wait_s = wait_s
        self._woken: dict[Turn, asyncio.Future[None]] = {}

    @property
    def is_crowded(self) -> bool:
        """Whether more come than can be served."""
        return self._crowd is not None and self._crowd.stands

    def check(self, client: str, seats_max: int, is_patient: bool = False) -> None:
        """Raises Refused when `taken` would."""
        if self._crowd is not None:
            self._crowd.come(time.monotonic(), self.line.is_empty)
        is_crowded = self.is_crowded and not is_patient and self._waits() >= self._crowded_places
        refusal = self.line.refusal(client, seats_max, is_crowded)
        if refusal is not None:
            self._refuse()
            raise self._refused(refusal)

    @contextlib.asynccontextmanager
    async def taken(self, client: str, seats_max: int, is_patient: bool = False) -> AsyncIterator[Seat]:
        """Wait for a seat and hold it; the client gets it while it holds fewer than `seats_max`, which is at least 1.

        Raises Refused, at once, when its place is given to another client, or when it has waited for too long.
        """
        self.check(client, seats_max, is_patient)
        asked_ns = time.monotonic_ns()
        turn = Turn(client, seats_max, is_patient)
        displaced = self.line.arrive(turn)
        if displaced is not None:
            self._refuse()
            self._wake(displaced)
        try:
            if turn.state is State.WAITING:
                await self._wait(turn)
            if turn.state is State.DISPLACED:
                raise self._refused(Refusal.OVER_SHARE)
            yield Seat(self, turn, time.monotonic_ns() - asked_ns)
        finally:
            self._woken.pop(turn, None)
            self.leave(turn)

    async def _wait(self, turn: Turn) -> None:
        """Until it is seated or displaced. Raises Refused."""
        self._woken[turn] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(None if turn.is_patient else self._wait_s):
                await self._woken[turn]
        except TimeoutError:
            raise self._refused(Refusal.LATE) from None

    def leave(self, turn: Turn) -> None:
        """Give up a turn, whatever its state."""
        if turn.state is State.SEATED and self._crowd is not None:
            self._crowd.end(time.monotonic())
        self._wake(self.line.leave(turn))

    def _waits(self) -> int:
        """How many wait who are not patient."""
        return self.line.impatient + self._waiting_on()

    def _refuse(self) -> None:
        if self._crowd is not None:
            self._crowd.refuse(self.line.is_full)

    def _wake(self, turn: Turn | None) -> None:
        if turn is not None and not self._woken[turn].done():
            self._woken[turn].set_result(None)

    def _refused(self, refusal: Refusal) -> Refused:
        match refusal:
            case Refusal.OVER_SHARE:
                text = "You have your share of what runs and waits, and others wait too; try again"
            case Refusal.CROWDED:
                text = "More requests come than can run; try again"
            case Refusal.LATE:
                text = f"No slot became free within {self._wait_s:g} seconds; try again"
            case Refusal.FULL:
                text = self._full
        return Refused(refusal, text)
