"""Waits for a seat: performs what line.py decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from daemon.sandbox.errors import CellblockError

from .line import Line, Refusal, State, Turn


class Refused(CellblockError):
    """There is no place to wait in; `refusal` tells whether the client has its share already."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


class Seat:
    """Held until `release` or the end of the `async with`, whichever comes first."""

    def __init__(self, seats: "Seats", turn: Turn) -> None:
        self._seats, self._turn = seats, turn

    def release(self) -> None:
        """Give the seat to whom it belongs next. May be called again, and then does nothing."""
        self._seats.leave(self._turn)


class Seats:
    """`line` tells how many are seated and wait."""

    def __init__(self, seats: int, places: int | None = None) -> None:
        self.line = Line(seats, places)
        self._woken: dict[Turn, asyncio.Future[None]] = {}

    def check(self, client: str, seats_max: int) -> None:
        """Raises Refused when `taken` would."""
        refusal = self.line.refusal(client, seats_max)
        if refusal is not None:
            raise self._refused(refusal)

    @contextlib.asynccontextmanager
    async def taken(self, client: str, seats_max: int) -> AsyncIterator[Seat]:
        """Wait for a seat and hold it; the client gets it while it holds fewer than `seats_max`, which is at least 1.

        Raises Refused, at once or when its place is given to another client.
        """
        self.check(client, seats_max)
        turn = Turn(client, seats_max)
        self._wake(self.line.arrive(turn))
        try:
            if turn.state is State.WAITING:
                self._woken[turn] = asyncio.get_running_loop().create_future()
                await self._woken[turn]
            if turn.state is State.DISPLACED:
                raise self._refused(Refusal.OVER_SHARE)
            yield Seat(self, turn)
        finally:
            self._woken.pop(turn, None)
            self.leave(turn)

    def leave(self, turn: Turn) -> None:
        """Give up a turn, whatever its state."""
        self._wake(self.line.leave(turn))

    def _wake(self, turn: Turn | None) -> None:
        if turn is not None and not self._woken[turn].done():
            self._woken[turn].set_result(None)

    def _refused(self, refusal: Refusal) -> Refused:
        if refusal is Refusal.OVER_SHARE:
            return Refused(refusal, "You have your share of what runs and waits, and others wait too; try again")
        return Refused(refusal, f"All {self.line.seats} slots are busy and {self.line.places} requests wait; try again")
