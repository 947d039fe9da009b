"""How many requests a client may send in a minute: a pure decision, and the fields that tell a client of it.

The rule is the generic cell rate algorithm (ITU-T I.371, annex A) with a burst of the whole quota: whoever has been
quiet may send all of a minute's requests at once, and after that one for each part of the minute that belongs to one.
For each client one number is kept: when all of its quota will be there again.
"""

import dataclasses
import math
import time
from collections.abc import Callable

import cachetools

WINDOW_S = 60
CLIENTS_MAX = 10_000  # that are remembered; who is forgotten has all of his quota again


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How a client stands after a request. `left` requests may follow at once; all of `quota` is there again after
    `full_s` seconds. `wait_s` is None when the request is allowed, else when the next one will be."""

    quota: int
    left: int
    full_s: float
    wait_s: float | None = None

    def fields(self, policy: str) -> dict[str, str]:
        """RateLimit and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-10, for a policy of this name."""
        return {
            "RateLimit-Policy": f'"{policy}";q={self.quota};w={WINDOW_S}',
            "RateLimit": f'"{policy}";r={self.left};t={math.ceil(self.full_s)}',
        }


def decide(full_at_s: float, now_s: float, quota: int) -> tuple[float, Standing]:
    """Whether one more request is allowed to a client whose quota is all there again at `full_at_s`, and the new such
    time. `quota` is at least 1."""
    each_s = WINDOW_S / quota
    used_s = max(0.0, full_at_s - now_s)
    over_s = used_s + each_s - WINDOW_S
    if over_s > 1e-6:  # rounding is nobody's fault
        return full_at_s, Standing(quota, 0, used_s, over_s)
    used_s += each_s
    return now_s + used_s, Standing(quota, int((WINDOW_S - used_s) / each_s + 1e-6), used_s)


class Rates:
    """What clients have used, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at_s: cachetools.LRUCache[str, float] = cachetools.LRUCache(CLIENTS_MAX)

    def __repr__(self) -> str:
        return f"<Rates: {len(self._full_at_s)}/{CLIENTS_MAX} clients>"

    def count(self, client: str, quota: int) -> Standing:
        """Count a request that was sent now; one that is not allowed costs nothing. `quota` is per minute."""
        self._full_at_s[client], standing = decide(self._full_at_s.get(client, 0.0), self._clock(), quota)
        return standing
