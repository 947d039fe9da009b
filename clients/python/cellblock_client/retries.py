"""When a refused request is sent again: a pure decision.

Only an answer 429 or 503 with Retry-After is: it says that nothing was begun. A connection that broke is not, because
a run may have begun on the other side.
"""

import dataclasses
import email.utils
import random
import time
from collections.abc import Callable

REFUSALS = (429, 503)


@dataclasses.dataclass(frozen=True, slots=True)
class Retries:
    """At most `attempts` in all, and none that would wait for more than `wait_s_max` seconds.

    The wait is what Retry-After says, or 0.1 s doubled for each attempt where that is more, and up to a half more by
    chance, so that those who were refused together do not come again together.
    """

    attempts: int = 4
    wait_s_max: float = 30.0
    chance: Callable[[], float] = random.random

    def wait_s(self, attempt: int, status: int, retry_after_s: float | None) -> float | None:
        """Seconds until the next attempt after `attempt` (from 1) was answered so; None: there is none."""
        if status not in REFUSALS or retry_after_s is None or attempt >= self.attempts:
            return None
        wait_s: float = max(retry_after_s, 0.1 * 2.0 ** (attempt - 1))
        if wait_s > self.wait_s_max:
            return None
        return wait_s * (1 + self.chance() / 2)


USUAL = Retries()


def retry_after_s(text: str | None, now_s: Callable[[], float] = time.time) -> float | None:
    """Seconds of a header Retry-After (RFC 9110, 10.2.3: a number or a date); None for what is neither."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s())
    except (ValueError, OverflowError):
        return None
