"""Admission, the one place where a request may be refused or have to wait for reasons that are not its own.

A request passes three gates in this order, and each of them is bounded:

places   `check`, before the body is read: when every slot is busy and every place taken, the answer is 503 at once, or
         429 where the client has its share of them.
room     `Room`, while the body comes: it counts bytes that have really arrived. The first SMALL_BYTES of a body are
         free, so that a small request is never refused for the sake of large ones; all that lies above that, of all
         requests together, is at most ROOM_BYTES, and of one client at most ROOM_SHARE times what stays free: some is
         always left for a client that has none. A body must keep pace (pace.py). Once it is parsed, it gives back all
         but what its submission goes on holding (source, standard input and files) until its program has ended.
slot     `slot`, once the request is known to be right: input validation, compiling and running all happen inside of
         it. A request waits for its slot among at most `places` others. While more come than can run (turns/crowd.py)
         only `crowded_places` single runs may wait, for a slot or in it for a jail, so that those that run do so soon;
         each waits for a slot for at most `wait_s`. Who grades is patient: it may wait among `places`, for as long as
         those before it take. Slots and places are divided evenly among the clients that want them (turns/line.py);
         a few spare slots are for clients that have none or less than an even part, so that nobody waits for what one
         client runs.
         Inside a slot nobody waits for longer than a tenth of a second for what is shared: the lexer
         (validation/constructs.py) and the type checker (judge/service.py).
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

from daemon.turns.seats import Seat, Seats

from .client import Client
from .errors import RETRY_AFTER_S, ApiProblem
from .tally import Tally

ROOM_BYTES = 256 << 20  # a body is in memory once while it comes (a memfd), and twice while it is parsed
ROOM_SHARE = 3  # one client has three quarters at most, a second one three quarters of the rest
SMALL_BYTES = 64 << 10  # less than a connection's own buffers (aiohttp stops reading at 128 KB)


class Room:
    """What one request holds of the room for bodies."""

    def __init__(self, take: Callable[[int], None]) -> None:
        self._take = take
        self._size = 0

    def resize(self, size: int) -> None:
        """Hold room for `size` bytes, more or fewer than before.

        Raises ApiProblem: 429 when the client has its share, 503 when others have too much.
        """
        self._take(_counted(size) - _counted(self._size))
        self._size = size


def _counted(size: int) -> int:
    return max(0, size - SMALL_BYTES)


class Admission:
    """`slots` requests run at once, and `spare` more of clients with less than an even part; at most `places` wait.
    `running`, `waiting` and `body_bytes` tell the state.

    `share` is the part of the slots, above 0 and at most 1, that one client may hold while others do not want them,
    unless its token says another. `crowded_places` and `wait_s` (seconds) bound the waiting of single runs further;
    `starting` tells how many of those that run wait for a jail.
    """

    def __init__(
        self, slots: int, places: int, share: float = 1.0, crowded_places: int | None = None,
        wait_s: float | None = None, starting: Callable[[], int] = lambda: 0, spare: int = 0,
    ) -> None:  # fmt: skip
        self._seats, self._share = Seats(slots, places, crowded_places, wait_s, starting, spare), share
        self._bodies = Tally()

    def __repr__(self) -> str:
        line = self._seats.line
        return (
            f"<Admission: {self.running}/{line.seats} running, {self.waiting}/{line.places} waiting, "
            f"{self.body_bytes} bytes of bodies>"
        )

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._seats.line.seated

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return self._seats.line.waiting

    @property
    def body_bytes(self) -> int:
        """Of all bodies, and of what submissions hold of them."""
        return self._bodies.total

    @property
    def is_crowded(self) -> bool:
        """Whether more requests come than can run."""
        return self._seats.is_crowded

    def check(self, client: Client, is_patient: bool = False) -> None:
        """Raises turns.seats.Refused when there is no place for this client. To be called before a body is read."""
        self._seats.check(client.name, self._slots_max(client), is_patient)

    @contextlib.contextmanager
    def room(self, client: Client) -> Iterator[Room]:
        """Room for one request's body, none at first; all that it then holds is given back at the end."""
        room = Room(functools.partial(self._take, client.name))
        try:
            yield room
        finally:
            room.resize(0)

    def _take(self, client: str, size: int) -> None:
        """`size` may be negative. Raises ApiProblem 429 and 503."""
        if not size:
            return
        own, all_bytes = self._bodies.of(client) + size, self._bodies.total + size
        if size > 0 and own > ROOM_SHARE * (ROOM_BYTES - all_bytes):
            if 2 * own > all_bytes:
                detail = "Your large requests take all the room that one client may have; try again when one has ended"
                raise ApiProblem(429, "over_share", detail, retry_after_s=RETRY_AFTER_S)
            detail = "Too many large requests at once; try again"
            raise ApiProblem(503, "queue_full", detail, retry_after_s=RETRY_AFTER_S)
        self._bodies.add(client, size)

    def slot(self, client: Client, is_patient: bool = False) -> contextlib.AbstractAsyncContextManager[Seat]:
        """Wait for a slot and hold it. Raises turns.seats.Refused when there is no place for this client."""
        return self._seats.taken(client.name, self._slots_max(client), is_patient)

    def _slots_max(self, client: Client) -> int:
        share = self._share if client.token is None or client.token.share is None else client.token.share
        return max(1, int(share * self._seats.line.seats))
