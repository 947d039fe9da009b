"""Waits for a seat: performs what line.py and crowd.py decide."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

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
    for."""

    def __init__(self, seats: "Seats", turn: Turn, waited_ns: int) -> None:
        self._seats, self._turn, self.waited_ns = seats, turn, waited_ns

    def release(self) -> None:
        """Give the seat to whom it belongs next. May be called again, and then does nothing."""
        self._seats.leave(self._turn)


class Seats:
    """`line` tells how many are seated and wait.

    Of at most `places` that wait, as many as `crowded_places` may be impatient while more come than can be served, and
    each of those waits for at most `wait_s` seconds.
    """

    def __init__(
        self, seats: int, places: int | None = None, crowded_places: int | None = None, wait_s: float | None = None
    ) -> None:
        self.line = Line(seats, places)
        self._crowd = None if places is None or crowded_places is None else Crowd(seats, places)
        self._crowded_places, self._wait_s = crowded_places, wait_s
        self._woken: dict[Turn, asyncio.Future[None]] = {}

    @property
    def is_crowded(self) -> bool:
        """Whether more come than can be served."""
        self._pass_time()
        return self._crowd is not None and self._crowd.stands

    def check(self, client: str, seats_max: int, is_patient: bool = False) -> None:
        """Raises Refused when `taken` would."""
        crowded_places = self._crowded_places if not is_patient and self.is_crowded else None
        refusal = self.line.refusal(client, seats_max, crowded_places)
        if refusal is not None:
            self._come()
            raise self._refused(refusal)

    @contextlib.asynccontextmanager
    async def taken(self, client: str, seats_max: int, is_patient: bool = False) -> AsyncIterator[Seat]:
        """Wait for a seat and hold it; the client gets it while it holds fewer than `seats_max`, which is at least 1.

        Raises Refused, at once, when its place is given to another client, or when it has waited for too long.
        """
        self.check(client, seats_max, is_patient)
        self._come()
        asked_ns = time.monotonic_ns()
        turn = Turn(client, seats_max, is_patient)
        self._wake(self.line.arrive(turn))
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
            self._pass_time()
            self._crowd.end()
        self._wake(self.line.leave(turn))

    def _come(self) -> None:
        if self._crowd is not None:
            self._pass_time()
            self._crowd.come(self.line.is_full)

    def _pass_time(self) -> None:
        if self._crowd is not None:
            self._crowd.pass_time(time.monotonic(), self.line.seated)

    def _wake(self, turn: Turn | None) -> None:
        if turn is not None and not self._woken[turn].done():
            self._woken[turn].set_result(None)

    def _refused(self, refusal: Refusal) -> Refused:
        match refusal:
            case Refusal.OVER_SHARE:
                text = "You have your share of what runs and waits, and others wait too; try again"
            case Refusal.CROWDED:
                text = f"All {self.line.seats} slots are busy and more requests come than can run; try again"
            case Refusal.LATE:
                text = f"No slot became free within {self._wait_s:g} seconds; try again"
            case Refusal.FULL:
                text = f"All {self.line.seats} slots are busy and {self.line.places} requests wait; try again"
        return Refused(refusal, text)
