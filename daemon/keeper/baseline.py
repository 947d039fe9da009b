"""What a fork of the warden is not charged for, measured: an empty program run as a command and as a fork.

A fork is charged only for the pages that it changes; the interpreter itself is the warden's. The difference is added to
what a fork used and taken off its limit, so that a program is told the same however it was started.
"""

import collections
import logging
import os
from collections.abc import Callable

from daemon.sandbox.descriptors import memfd
from daemon.sandbox.messages import Run
from daemon.sandbox.model import KilledBy
from daemon.sandbox.plan import StepPlan, Warm

from . import jail
from .loop import Loop
from .pool import Owner, Refused

log = logging.getLogger("cellblock.keeper")

RUNS = (Warm.EXEC, Warm.EXEC, Warm.FORK, Warm.FORK)  # twice: the first may be charged for the page cache
AGAIN_S, AGAIN_S_MAX = 1.0, 30.0
UNKNOWN_BYTES = 1 << 62

Make = Callable[[Warm, Owner], jail.Jail]  # a jail that is yet to be started; or raises Refused


class Baseline:
    """`start` measures once and calls `done` with bytes; it tries again, ever more slowly, while it cannot."""

    def __init__(self, loop: Loop, make: Make, step: StepPlan, done: Callable[[int], None]) -> None:
        self._guard = loop.guard(lambda error: self._again(repr(error)))
        self._make, self._step, self._done = make, step, done
        self._peaks: dict[Warm, int] = {}
        self._left = collections.deque(RUNS)
        self._jail: jail.Jail | None = None
        self._pause_s = AGAIN_S

    def start(self) -> None:
        """Begin to measure; `done` is called once."""
        self._guard.call(self._next)

    def _next(self) -> None:
        if not self._left:
            difference = self._peaks[Warm.EXEC] - self._peaks[Warm.FORK]
            log.info("baseline memory: %d bytes", difference)
            self._done(max(0, difference))
            return
        try:
            self._jail = made = self._make(self._left[0], self._hear)
        except Refused as refusal:
            self._again(str(refusal))
            return
        made.start()

    def _again(self, reason: str, level: int = logging.WARNING) -> None:
        log.log(level, "cannot measure the baseline memory yet: %s", reason)
        self._left = collections.deque(RUNS)
        self._guard.after(self._pause_s, self._next)
        self._pause_s = min(2 * self._pause_s, AGAIN_S_MAX)

    def _hear(self, news: jail.News) -> None:
        match news:
            case jail.Parked():
                self._go()
            case jail.Refused("kill", reason):
                self._again(f"killed: {reason}", logging.INFO)  # the keeper stops
            case jail.Refused(stage, reason):
                self._again(f"{stage}: {reason}")
            case jail.Ended(outcome, _) if outcome.killed_by is KilledBy.CLIENT:
                self._again("killed: client", logging.INFO)
            case jail.Ended(outcome, _) if outcome.wait_status != 0:
                self._again(f"{self._left[0]} ended with {outcome}")
            case jail.Ended(outcome, _):
                warm = self._left.popleft()
                peak_bytes = outcome.usage.memory_bytes or 0
                self._peaks[warm] = min(self._peaks.get(warm, UNKNOWN_BYTES), peak_bytes)
                self._next()

    def _go(self) -> None:
        assert self._jail is not None
        source = memfd("nothing", b"")
        try:
            reason = self._jail.go(Run(0, "", self._step.id, self._step.default), [source])
        finally:
            os.close(source)
        if reason is not None:
            self._jail.fail("go", reason)
