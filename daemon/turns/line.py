"""Who gets one of a number of seats next, and who may wait for one: pure decisions, fair among clients.

A free seat goes to the client that holds the fewest, of several such clients to the one that has waited longest;
the turns of one client come in the order in which they arrived. So no client gets more seats than an equal share of
them while others wait, and one that is alone may have them all, or as many as its `seats_max`. What is seated stays
so until it ends, which may be long: so there are spare seats, which only a client gets that holds none, or less than
an equal share of the seats.

The places of those who wait are divided evenly too, by "longest queue drop": when all are taken, a client that has
fewer than others takes one from the client that has the most, whose newest turn gives way.
"""

import collections
import dataclasses
import enum


class State(enum.StrEnum):
    """Of a turn. DISPLACED: it waited and gave way to another client's."""

    NEW = "new"
    WAITING = "waiting"
    SEATED = "seated"
    DISPLACED = "displaced"
    LEFT = "left"


class Refusal(enum.StrEnum):
    """Why a turn may not wait. FULL: all places are taken. CROWDED: as many wait as may in a crowd. OVER_SHARE: others
    could wait, this client has its share. LATE: it waited for as long as it may."""

    FULL = "full"
    CROWDED = "crowded"
    OVER_SHARE = "over share"
    LATE = "late"


@dataclasses.dataclass(slots=True, eq=False)
class Turn:
    """One client's wish for a seat; the client gets it while it holds fewer than `seats_max`.

    A patient one, such as a grading, may wait in a crowd, too.
    """

    client: str
    seats_max: int
    is_patient: bool = False
    state: State = State.NEW


@dataclasses.dataclass(slots=True)
class _Client:
    """What one client has at the moment; forgotten when that is nothing."""

    seated: int = 0
    waiting: collections.deque[Turn] = dataclasses.field(default_factory=collections.deque)


class Line:
    """`seats` at once and `spare` more, and at most `places` wait (None: any number). `seated` and `waiting` tell how
    many there are, and `impatient` how many of those that wait are not patient.

    It remembers the clients that hold or want something now and no other, so it is as bounded as these are.
    """

    def __init__(self, seats: int, places: int | None = None, spare: int = 0) -> None:
        self.seats, self.places, self._spare = seats, places, spare
        self.seated = self.waiting = self.impatient = 0
        self._clients: dict[str, _Client] = {}  # those that wait: who was served, or came, longest ago first

    def __repr__(self) -> str:
        return f"<Line: {self.seated}/{self.seats} seated, {self.waiting}/{self.places} waiting>"

    @property
    def is_full(self) -> bool:
        """Whether every seat and every place is taken."""
        return self.seated >= self.seats and not self._has_place()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is seated or waits."""
        return not self.seated and not self.waiting

    def seated_of(self, client: str) -> int:
        """How many seats it holds."""
        has = self._clients.get(client)
        return 0 if has is None else has.seated

    def refusal(self, client: str, seats_max: int, is_crowded: bool = False) -> Refusal | None:
        """Why a turn of this client could not arrive now, or None when it can.

        `is_crowded`: more come than can be served, so that only a client may come that is owed something, although a
        seat may be free: so the crowd of some keeps no other out.
        """
        if is_crowded and not self._is_owed(client):
            return Refusal.OVER_SHARE if self._has(client) and len(self._clients) > 1 else Refusal.CROWDED
        if self._has_seat(client, seats_max):
            return None
        if self._has_place() or self._gives_way_to(client) is not None:
            return None
        has_seats_for_others = self.seated < self.seats
        own = len(self._clients[client].waiting) if client in self._clients else 0
        others = sum(1 for name, other in self._clients.items() if other.waiting and name != client)
        has_share = others > 0 and own * (others + 1) >= (self.places or 0)
        return Refusal.OVER_SHARE if has_seats_for_others or (own > 0 and has_share) else Refusal.FULL

    def arrive(self, turn: Turn) -> Turn | None:
        """Seat a new turn or let it wait, where `refusal` is None. The turn of another client that gives way to it."""
        if self._has_seat(turn.client, turn.seats_max):
            self._seat(turn)
            return None
        displaced = None if self._has_place() else self._gives_way_to(turn.client)
        if displaced is not None:
            self._drop(displaced, State.DISPLACED)
        turn.state = State.WAITING
        has = self._clients.get(turn.client)
        if has is None or not has.waiting:
            has = self._at_the_end(turn.client)
        has.waiting.append(turn)
        self._count_waiting(turn, 1)
        return displaced

    def leave(self, turn: Turn) -> Turn | None:
        """Give up a turn in any state. The turn that is seated now because of it, where there is one."""
        if turn.state is State.WAITING:
            self._drop(turn, State.LEFT)
        elif turn.state is State.SEATED:
            turn.state = State.LEFT
            self.seated -= 1
            self._clients[turn.client].seated -= 1
            self._forget(turn.client)
            return self._next()
        return None

    def _has_seat(self, client: str, seats_max: int) -> bool:
        """True also while others wait: a seat is free then only because none of them may have it (`seats_max`, or it is
        a spare one)."""
        has = self._clients.get(client) or _Client()
        return self._is_free_for(has) and not has.waiting and has.seated < seats_max

    def _is_free_for(self, has: _Client) -> bool:
        is_short = has.seated == 0 or self._is_below_share(has.seated, len(self._clients))
        return self.seated < self.seats + (self._spare if is_short else 0)

    def _is_owed(self, client: str) -> bool:
        """It has less than an equal share of the seats, or two turns fewer than another client."""
        has, clients = self._has(client), len(self._clients) + (client not in self._clients)
        most = max(map(self._has, self._clients), default=0)
        return (clients > 1 and self._is_below_share(has, clients)) or has + 2 <= most

    def _is_below_share(self, has: int, clients: int) -> bool:
        """One more would still be no more than an equal share of the seats."""
        return (has + 1) * clients <= self.seats

    def _has(self, client: str) -> int:
        """Seats and places."""
        has = self._clients.get(client)
        return 0 if has is None else has.seated + len(has.waiting)

    def _count_waiting(self, turn: Turn, more: int) -> None:
        self.waiting += more
        self.impatient += 0 if turn.is_patient else more

    def _has_place(self) -> bool:
        return self.places is None or self.waiting < self.places

    def _gives_way_to(self, client: str) -> Turn | None:
        """The newest turn of the client that has the most places, if it has still as many as `client` after that."""
        most = max(self._clients.values(), key=lambda one: len(one.waiting), default=None)
        own = len(self._clients[client].waiting) if client in self._clients else 0
        return None if most is None or own + 1 >= len(most.waiting) else most.waiting[-1]

    def _next(self) -> Turn | None:
        waiting = (one for one in self._clients.values() if one.waiting and self._is_free_for(one))
        may = [one for one in waiting if one.seated < one.waiting[0].seats_max]
        if not may:
            return None
        turn = min(may, key=lambda one: one.seated).waiting.popleft()  # of equals the first
        self._count_waiting(turn, -1)
        self._seat(turn)
        return turn

    def _seat(self, turn: Turn) -> None:
        turn.state = State.SEATED
        self._at_the_end(turn.client).seated += 1
        self.seated += 1

    def _at_the_end(self, client: str) -> _Client:
        """This client, which is the last now of those that wait."""
        self._clients[client] = has = self._clients.pop(client, None) or _Client()
        return has

    def _drop(self, turn: Turn, state: State) -> None:
        turn.state = state
        self._clients[turn.client].waiting.remove(turn)
        self._count_waiting(turn, -1)
        self._forget(turn.client)

    def _forget(self, client: str) -> None:
        has = self._clients[client]
        if not has.seated and not has.waiting:
            del self._clients[client]
