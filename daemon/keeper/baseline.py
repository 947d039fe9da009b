"""What a fork of the warden is not charged for, measured: an empty program run as a command and as a fork.

A fork is charged only for the pages that it changes; the interpreter itself is the warden's. The difference is added to
what a fork used and taken off its limit, so that a program is told the same however it was started.
"""

import collections
import logging
import os
from collections.abc import Callable

from daemon.sandbox.model import Outcome, StepPlan, Warm

from .jail import Jail, Refused
from .loop import Loop

log = logging.getLogger("cellblock.keeper")

RUNS = (Warm.EXEC, Warm.EXEC, Warm.FORK, Warm.FORK)  # twice: the first may be charged for the page cache
AGAIN_S = 1.0


Make = Callable[[Warm, "Baseline"], Jail]  # or raises Refused


class Baseline:
    """Calls `done` with bytes once it has measured; tries again while it cannot."""

    def __init__(self, loop: Loop, make: Make, step: StepPlan, done: Callable[[int], None]) -> None:
        self._loop, self._make, self._step, self._done = loop, make, step, done
        self._peaks: dict[Warm, int] = {}
        self._left = collections.deque(RUNS)
        self._next()

    def _next(self) -> None:
        if not self._left:
            difference = self._peaks[Warm.EXEC] - self._peaks[Warm.FORK]
            log.info("baseline memory: %d bytes", difference)
            self._done(max(0, difference))
            return
        try:
            self._make(self._left[0], self).start()
        except Refused as refusal:
            self._again(str(refusal))

    def _again(self, reason: str) -> None:
        log.warning("cannot measure the baseline memory yet: %s", reason)
        self._left = collections.deque(RUNS)
        self._loop.after(AGAIN_S, self._next)

    # -- the Listener of jail.py

    def parked(self, jail: Jail) -> None:
        source = os.memfd_create("nothing", os.MFD_CLOEXEC)
        try:
            jail.go(self._step.default, '{"args": []}', [source])
        except Refused as refusal:
            jail.fail("go", str(refusal))
        finally:
            os.close(source)

    def refused(self, jail: Jail, stage: str, reason: str) -> None:
        self._again(f"{stage}: {reason}")

    def outcome(self, jail: Jail, outcome: Outcome, artifact: int | None) -> None:
        warm, peak = self._left[0], outcome.usage.memory_bytes
        if outcome.wait_status != 0:
            self._again(f"{warm} ended with {outcome}")
            return
        self._left.popleft()
        self._peaks[warm] = min(self._peaks.get(warm, 1 << 62), peak or 0)
        self._next()
