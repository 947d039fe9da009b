"""Whether more come than can be served, which a short burst is not: a pure decision with the clock handed in.

A crowd stands from the moment at which every seat and every place is taken. From then on we count as if nobody were
refused: with each arrival, served or not, that line gets longer, and shorter at the rate at which seats become free.
When half of it would have gone, the crowd has: what comes can be served again. So a burst that fits into the places is
no crowd, however long it takes, nor are clients that wait for an answer before they ask again and are fewer than the
places.
"""

import math

MEMORY_S = 10.0  # over which the rate is a mean


class Crowd:
    """`stands` tells. All moments are CLOCK_MONOTONIC seconds and never go back."""

    def __init__(self, seats: int, places: int) -> None:
        self._seats, self._most = seats, seats + places
        self._line = 0.0  # while it stands: how many would be here if nobody were refused
        self._ended = self._held_s = 0.0  # seats that became free, and seconds for which they were taken
        self._now_s = 0.0
        self.stands = False

    def __repr__(self) -> str:
        return (
            f"<Crowd: {self._line:.0f}/{self._most}, {self._per_s():.3g} a second>" if self.stands else "<Crowd: none>"
        )

    def pass_time(self, now_s: float, seated: int) -> None:
        """`seated` seats were taken since the last call, whichever it was."""
        passed_s, self._now_s = now_s - self._now_s, now_s
        kept = math.exp(-passed_s / MEMORY_S)
        self._held_s = self._held_s * kept + seated * MEMORY_S * (1 - kept)
        self._ended *= kept
        if self.stands and passed_s > 0:
            self._line -= passed_s * self._per_s()
            self.stands = self._line > self._most / 2

    def come(self, is_full: bool) -> None:
        """Somebody came. `is_full`: every seat and every place was taken."""
        if is_full:
            self.stands, self._line = True, self._most
        elif self.stands:
            self._line = min(self._line + 1, self._most)

    def end(self) -> None:
        """A seat became free."""
        self._ended += 1

    def _per_s(self) -> float:
        """What all seats together serve."""
        return self._seats * self._ended / self._held_s if self._held_s > 0 else math.inf
