"""What a warden lends to one live jail at a time: a host uid, and a network namespace. Pure."""

import dataclasses
import heapq

FIRST_UID, LAST_UID = 1000, 65000  # inside a warden's slice of ids; 0 is the warden itself


@dataclasses.dataclass(frozen=True, slots=True)
class Lent:
    """No other live jail of the warden has this uid or this network; network 0 is one of the jail's own."""

    uid: int
    network: int


class Lender:
    """`networks`: how many there are to lend; 0 gives each jail one of its own."""

    def __init__(self, networks: int) -> None:
        self._next_uid = FIRST_UID
        self._taken: set[int] = set()
        self._free = list(range(1, networks + 1))  # a heap: the lowest first, so that few are ever made

    def take(self) -> Lent:
        """A uid that was given back is used again as late as possible. Raises OSError when all are taken."""
        for _ in range(LAST_UID - FIRST_UID):
            uid, self._next_uid = self._next_uid, self._next_uid + 1
            if self._next_uid == LAST_UID:
                self._next_uid = FIRST_UID
            if uid not in self._taken:
                self._taken.add(uid)
                return Lent(uid, heapq.heappop(self._free) if self._free else 0)
        raise OSError("every uid of the warden's slice belongs to a live jail")

    def give(self, lent: Lent) -> None:
        """Nothing of the jail is left."""
        self._taken.discard(lent.uid)
        if lent.network:
            heapq.heappush(self._free, lent.network)
