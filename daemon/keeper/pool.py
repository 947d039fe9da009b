"""The parked jails of one step: made in advance, given away once, made again in the background."""

import collections
import logging
import os
from typing import Protocol

from daemon.sandbox.model import KilledBy, Limits, Outcome, StepPlan, Warm

from .jail import Jail, Refused, placeholders
from .loop import Loop, Timer
from .wardens import Warden

log = logging.getLogger("cellblock.keeper")

STARTING_MAX = os.cpu_count() or 1  # in the background; those that somebody waits for are started at once
AGAIN_S, AGAIN_S_MAX = 0.05, 5.0
LATER_S = 0.005


class Taker(Protocol):
    """Whoever waits for a jail: hears one of the two, perhaps at once."""

    def given(self, jail: Jail) -> None: ...

    def denied(self, stage: str, reason: str) -> None: ...


class Maker(Protocol):
    """Starts jails: the keeper."""

    def make_jail(self, pool: "Pool", limits: Limits) -> Jail:
        """Raises Refused."""

    def lacks_warden(self, pool: "Pool") -> str | None:
        """Why, or None where there is one."""

    def parked(self) -> None:
        """Another one is."""

    def may_park(self) -> bool:
        """False when the parked jails have all the memory that they may have."""


class Pool:
    """Holds `step.parked` jails ready as long as there is a warden, never more."""

    def __init__(self, loop: Loop, maker: Maker, toolchain: str, step: StepPlan) -> None:
        self.toolchain, self.step = toolchain, step
        self._loop, self._maker = loop, maker
        self._parked: collections.deque[Jail] = collections.deque()
        self._starting: dict[Jail, Taker | None] = {}  # those with a taker have limits of their own
        self._waiting: collections.deque[Taker] = collections.deque()
        self._failures = 0
        self._timer: Timer | None = None
        self._later: Timer | None = None
        self.closed = False
        self.baseline_bytes = 0
        self.needs_baseline = step.warm is Warm.FORK
        self._starts_long = step.warm in (Warm.PRELOAD, Warm.STDIN)

    def __repr__(self) -> str:
        counts = f"{len(self._parked)} parked, {len(self._starting)} starting, {len(self._waiting)} waiting"
        return f"<Pool {self.toolchain}/{self.step.id}: {counts}>"

    @property
    def parked_count(self) -> int:
        return len(self._parked)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @property
    def parked_bytes(self) -> int:
        return sum(jail.parked_bytes for jail in self._parked)

    # -- giving

    def acquire(self, taker: Taker, limits: Limits | None) -> None:
        """Give a parked jail now, or one as soon as it is ready. `limits` matter where a started command names them."""
        if limits is not None and self._is_started_for_others(limits):
            self._start(limits, taker)
        elif self._parked:
            taker.given(self._parked.popleft())
            self._fill_later()
        elif (problem := self._maker.lacks_warden(self)) is not None:
            taker.denied("acquire", problem)
        else:
            self._waiting.append(taker)
            for jail in list(self._starting):
                jail.hurry()
            if not self.needs_baseline and len(self._waiting) > self._shared_starting():
                self._start(self.step.default, None)

    def forget(self, taker: Taker) -> None:
        """It waits no more."""
        if taker in self._waiting:
            self._waiting.remove(taker)
        for jail, other in list(self._starting.items()):
            if other is taker:
                self._starting.pop(jail)
                jail.kill(KilledBy.CLIENT)

    def _is_started_for_others(self, limits: Limits) -> bool:
        started = self._starts_long and self.step.names_limits
        return started and placeholders(self.step, limits) != placeholders(self.step, self.step.default)

    def _shared_starting(self) -> int:
        return sum(taker is None for taker in self._starting.values())

    # -- filling

    def set_baseline(self, size: int) -> None:
        self.baseline_bytes, self.needs_baseline = size, False
        for _ in range(len(self._waiting)):
            self._start(self.step.default, None)
        self.fill()

    def fill(self) -> None:
        """Start as many as are missing, a few at a time."""
        while (
            not self.closed
            and not self.needs_baseline
            and self._timer is None
            and len(self._parked) + self._shared_starting() < self.step.parked
            and self._shared_starting() < STARTING_MAX
            and self._maker.may_park()
            and self._start(self.step.default, None)
        ):
            pass

    def _fill_later(self) -> None:
        """A new jail costs as much as a short run: as long as there are enough, leave the processors to that."""
        if len(self._parked) < self.step.parked / 2:
            self.fill()
        elif self._later is None:
            self._later = self._loop.after(LATER_S, self._on_later)

    def _on_later(self) -> None:
        self._later = None
        self.fill()

    def _start(self, limits: Limits, taker: Taker | None) -> bool:
        try:
            jail = self._maker.make_jail(self, limits)
        except Refused as refusal:
            self._deny(taker, "acquire", str(refusal))
            return False
        self._starting[jail] = taker
        jail.start(background=self._starts_long and taker is None and not self._waiting)
        return True

    def _deny(self, taker: Taker | None, stage: str, reason: str) -> None:
        """One jail less than was hoped for: who would wait in vain is told."""
        if taker is not None:
            taker.denied(stage, reason)
        elif len(self._waiting) > self._shared_starting():
            self._waiting.popleft().denied(stage, reason)

    # -- from its jails

    def parked(self, jail: Jail) -> None:
        taker = self._starting.pop(jail)
        self._failures = 0
        if taker is not None:
            taker.given(jail)
        elif self._waiting:
            self._waiting.popleft().given(jail)
        elif self.closed or jail.warden.retired or len(self._parked) >= self.step.parked:
            jail.kill(KilledBy.CLIENT)  # those that it was made for have gone, or got another
        else:
            self._parked.append(jail)
            self._maker.parked()
        self.fill()

    def refused(self, jail: Jail, stage: str, reason: str) -> None:
        if jail in self._parked:
            self._parked.remove(jail)
        elif jail in self._starting:
            self._deny(self._starting.pop(jail), stage, reason)
        else:
            return  # dropped by ourselves
        self._failures += 1
        if self._timer is None:
            self._timer = self._loop.after(min(AGAIN_S * 2**self._failures, AGAIN_S_MAX), self._fill_again)

    def outcome(self, jail: Jail, outcome: Outcome, artifact: int | None) -> None:
        raise AssertionError(f"{jail} went without having been given away")

    def _fill_again(self) -> None:
        self._timer = None
        self.fill()

    def fill_anew(self) -> None:
        """A warden became ready: earlier failures say nothing about it."""
        self._failures = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.fill()

    # -- the end

    def drop(self, warden: Warden) -> None:
        """Destroy what is parked with a warden that is being replaced, or lost."""
        for jail in [jail for jail in self._parked if jail.warden is warden]:
            self._parked.remove(jail)
            jail.kill(KilledBy.CLIENT)

    def close(self) -> None:
        """Nobody gets anything any more."""
        self.closed = True
        for taker in list(self._waiting):
            taker.denied("acquire", "the keeper stops")
        self._waiting.clear()
