"""Admission, the one place where a request may be refused or have to wait for reasons that are not its own.

A request passes three gates in this order, and each of them is bounded:

places   `check`, before the body is read: when every slot is busy and every place taken, the answer is 503 at once.
room     `Room`, while the body comes: it counts bytes that have really arrived. The first SMALL_BYTES of a body are
         free, so that a small request is never refused for the sake of large ones; all that lies above that, of all
         requests together, is at most ROOM_BYTES. A body has body.READ_S to arrive. Once it is parsed, it gives back
         all but what its submission goes on holding (source, standard input and files) until its program has ended.
slot     `slot`, once the request is known to be right: input validation, compiling and running all happen inside of
         it. A request waits for its slot among at most `places` others, in the order of arrival, for as long as the
         runs before it may take. Inside a slot nobody waits for longer than a tenth of a second for what is shared:
         the lexer (validation/constructs.py) and the type checker (judge/service.py).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

from .errors import RETRY_AFTER_S, ApiProblem

ROOM_BYTES = 256 << 20  # a body in JSON, as text and as bytes is in memory several times
SMALL_BYTES = 64 << 10  # less than a connection's own buffers (aiohttp stops reading at 128 KB)


class Room:
    """What one request holds of the room for bodies."""

    def __init__(self, take: Callable[[int], None]) -> None:
        self._take = take
        self._size = 0

    def resize(self, size: int) -> None:
        """Hold room for `size` bytes, more or fewer than before. Raises ApiProblem 503 when there is none."""
        self._take(_counted(size) - _counted(self._size))
        self._size = size


def _counted(size: int) -> int:
    return max(0, size - SMALL_BYTES)


class Slot:
    """One of the slots, held until `release` or the end of the `async with`, whichever comes first.

    `waited_ns`: how long its request waited for it.
    """

    def __init__(self, give_back: Callable[[], None], waited_ns: int) -> None:
        self._give_back: Callable[[], None] | None = give_back
        self.waited_ns = waited_ns

    def release(self) -> None:
        """Give the slot to the next request. May be called again, and then does nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class Admission:
    """`slots` requests run at once and at most `places` wait. `running`, `waiting` and `body_bytes` tell the state."""

    def __init__(self, slots: int, places: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._at_once, self._places = slots, places
        self.running = self.waiting = self.body_bytes = 0

    def __repr__(self) -> str:
        return (
            f"<Admission: {self.running}/{self._at_once} running, {self.waiting}/{self._places} waiting, "
            f"{self.body_bytes} bytes of bodies>"
        )

    def check(self) -> None:
        """Raises ApiProblem 503 `queue_full` when nobody more may wait. To be called before a body is read."""
        if self.running >= self._at_once and self.waiting >= self._places:
            raise _full(f"All {self._at_once} slots are busy and {self._places} requests wait; try again")

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """Room for one request's body, none at first; all that it then holds is given back at the end."""
        room = Room(self._take)
        try:
            yield room
        finally:
            room.resize(0)

    def _take(self, size: int) -> None:
        """`size` may be negative. Raises ApiProblem 503 when there is no such room."""
        if size > 0 and self.body_bytes + size > ROOM_BYTES:
            raise _full("Too many large requests at once; try again")
        self.body_bytes += size

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a slot and hold it. Raises ApiProblem 503 `queue_full` when nobody more may wait."""
        self.check()
        asked_ns = time.monotonic_ns()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        slot = Slot(self._give_back, time.monotonic_ns() - asked_ns)
        try:
            yield slot
        finally:
            slot.release()

    def _give_back(self) -> None:
        self.running -= 1
        self._slots.release()


def _full(detail: str) -> ApiProblem:
    return ApiProblem(503, "queue_full", detail, retry_after_s=RETRY_AFTER_S)
