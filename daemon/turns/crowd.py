"""Whether more come than can be served, which a short burst is not: a pure decision with the clock handed in.

A crowd stands from the moment at which every seat and every place is taken. It has gone when so many as half of the
places were served one after the other and nobody was refused meanwhile, or when nobody was there for a second. So a
burst that fits into the places is no crowd, however long it takes, nor are clients that wait for an answer before they
ask again and are fewer than the places.
"""

SILENCE_S = 1.0


class Crowd:
    """`stands` tells. All moments are CLOCK_MONOTONIC seconds."""

    def __init__(self, places: int) -> None:
        self._enough = max(1, places // 2)
        self._served = 0  # since somebody was refused
        self._last_s = 0.0  # when somebody came or went
        self.stands = False

    def __repr__(self) -> str:
        return f"<Crowd: {self._served}/{self._enough} served>" if self.stands else "<Crowd: none>"

    def come(self, now_s: float, is_empty: bool) -> None:
        """Somebody comes, and is not refused yet. `is_empty`: nobody else is there."""
        if is_empty and now_s - self._last_s > SILENCE_S:
            self.stands = False
        self._last_s = now_s

    def refuse(self, is_full: bool) -> None:
        """Somebody was refused or gave way. `is_full`: every seat and every place is taken."""
        self.stands |= is_full
        self._served = 0

    def end(self, now_s: float) -> None:
        """Somebody was served."""
        self._served += 1
        self._last_s = now_s
        if self._served >= self._enough:
            self.stands = False
