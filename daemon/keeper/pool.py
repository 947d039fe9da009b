"""The parked jails of one step: performs what pool_state decides."""

import itertools
import logging
import os
from collections.abc import Callable
from typing import Protocol

from daemon.sandbox.errors import OurFault
from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.plan import StepPlan, Warm

from . import jail, kinds
from . import pool_events as ev
from . import pool_state as states
from .loop import Loop
from .machine import Machine
from .warden import Warden

log = logging.getLogger("cellblock.keeper")

STARTING_MAX = os.cpu_count() or 1  # in the background; those that somebody waits for are started at once


class Taker(Protocol):
    """Whoever waits for a jail: hears one of the three, perhaps at once."""

    def given(self, found: jail.Jail) -> None:
        """The jail is parked and the taker's from now on."""

    def denied(self, stage: str, reason: str) -> None:
        """There is no jail for it; `stage` and `reason` are for the log."""

    def met_memory_limit(self) -> None:
        """The step's command cannot even be started within its limits."""


class Refused(OurFault):
    """No jail can be made now; the text says why, and `stage` where."""

    def __init__(self, reason: str, stage: str = "acquire") -> None:
        super().__init__(reason)
        self.stage = stage


Owner = Callable[[jail.News], None]
Make = Callable[["Pool", Limits, Owner], jail.Jail]  # a jail that is yet to be started; or raises Refused


class Pool:
    """Holds `step.parked` jails ready as long as there is a warden. `on_change` hears that one more is parked."""

    def __init__(
        self, loop: Loop, toolchain: str, step: StepPlan, patience_s: float, make: Make, on_change: Callable[[], None]
    ) -> None:
        self.toolchain, self.step = toolchain, step
        self.baseline_bytes = 0
        self._make, self._on_change = make, on_change
        self._kind = kinds.KINDS[step.warm]
        self._jails: dict[int, jail.Jail] = {}  # by key: those that are starting or parked
        self._takers: dict[int, tuple[Taker, Limits]] = {}  # by ticket
        self._tickets = itertools.count(1)
        is_measured = step.warm is not Warm.FORK
        state = states.State(step.parked, STARTING_MAX, patience_s, is_measured)
        guard = loop.guard(lambda error: None)  # the log has it; the state goes on from where it is
        self._machine = Machine(guard, state, states.decide, states.due, self._perform)

    def __repr__(self) -> str:
        state = self._machine.state
        counts = f"{len(state.parked)} parked, {len(state.starting)} starting, {len(state.waiting)} waiting"
        return f"<Pool {self.toolchain}/{self.step.id}: {counts}>"

    @property
    def parked_count(self) -> int:
        """Jails that wait for go."""
        return len(self._machine.state.parked)

    def counts(self, alive: int) -> dict[str, int]:
        """What messages.Stats tells of it. `alive` are the jails of the step, whoever has them."""
        state = self._machine.state
        parked, starting = len(state.parked), len(state.starting)
        running = max(0, alive - parked - starting - sum(waiting.key is not None for waiting in state.waiting))
        return {
            "parked": parked, "wanted": self.step.parked, "starting": starting, "running": running,
            "waiting": len(state.waiting),
        }  # fmt: skip

    @property
    def starting_count(self) -> int:
        """Jails that are to be parked, or given to whoever waits."""
        return len(self._machine.state.starting)

    @property
    def is_short(self) -> bool:
        """It has fewer than it wants, and no more on the way."""
        return self.parked_count + self.starting_count < self.step.parked

    @property
    def parked_bytes(self) -> int:
        """Memory of the parked jails when they were parked."""
        return sum(self._jails[key].parked_bytes for key in self._machine.state.parked)

    @property
    def needs_baseline(self) -> bool:
        """What its jails share with their warden is yet to be measured."""
        return not self._machine.state.is_measured

    def acquire(self, taker: Taker, limits: Limits, is_patient: bool, sharing: int) -> int:
        """The taker gets a parked jail now, or one as soon as it is ready; a patient one leaves the last parked ones to
        others, and one whose client has several runs (`sharing`) is served later. The ticket is for `cancel`."""
        ticket = next(self._tickets)
        self._takers[ticket] = taker, limits
        self._machine.feed(ev.Acquire(ticket, not kinds.is_parked_for(self.step, limits), is_patient, sharing))
        return ticket

    def cancel(self, ticket: int) -> None:
        """The taker waits no more, and hears nothing."""
        if self._takers.pop(ticket, None) is not None:
            self._machine.feed(ev.Cancel(ticket))

    def run_ended(self) -> None:
        """A run that had one of the jails is over."""
        if self._machine.state.refill_s is not None:
            self._machine.feed(ev.RunEnded())

    def set_baseline(self, size: int) -> None:
        """Bytes that each jail of the step is charged beside what its group counts."""
        self.baseline_bytes = size
        self._machine.feed(ev.Measured())

    def wardens_changed(self, problem: str | None, lost: Warden | None) -> None:
        """`problem`: why there is none that makes jails. Jails parked with the lost one are destroyed."""
        keys = tuple(key for key, found in self._jails.items() if found.warden is lost)
        self._machine.feed(ev.Wardens(problem, keys))

    def set_room(self, is_there: bool) -> None:
        """Whether parked jails may take more memory."""
        if is_there != self._machine.state.has_room:
            self._machine.feed(ev.Room(is_there))

    def close(self) -> None:
        """Nobody gets anything any more."""
        self._machine.feed(ev.Close())

    # -- what the state decides

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Start(key, is_background, ticket):
                self._start(key, is_background, ticket)
            case ev.Give(key, ticket):
                found, taker = self._jails.pop(key), self._takers.pop(ticket, None)
                if taker is None:
                    found.kill(KilledBy.CLIENT)
                else:
                    taker[0].given(found)
            case ev.Deny(ticket, stage, reason, is_limit):
                if ticket in self._takers:
                    waiting = self._takers.pop(ticket)[0]
                    if is_limit:
                        waiting.met_memory_limit()
                    else:
                        waiting.denied(stage, reason)
            case ev.Destroy(key):
                if key in self._jails:
                    self._jails.pop(key).kill(KilledBy.CLIENT)
            case ev.Hurry(key):
                if key in self._jails:
                    self._jails[key].hurry()

    def _start(self, key: int, is_background: bool, ticket: int | None) -> None:
        limits = self.step.default if ticket is None else self._takers[ticket][1]
        try:
            self._jails[key] = made = self._make(self, limits, lambda news: self._hear(key, news))
        except Refused as refusal:
            self._machine.feed(ev.Refused(key, refusal.stage, str(refusal)))
            return
        except Exception as error:
            self._machine.feed(ev.Refused(key, "keeper", repr(error)))
            raise
        made.start(background=is_background and self._kind.starts_long)

    # -- from its jails

    def _hear(self, key: int, news: jail.News) -> None:
        match news:
            case jail.Parked():
                self._machine.feed(ev.IsParked(key, self._is_stale(key)))
                self._on_change()
            case jail.Refused(stage, reason):
                self._jails.pop(key, None)
                self._machine.feed(ev.Refused(key, stage, reason))
            case jail.TooSmall():
                self._jails.pop(key, None)
                self._machine.feed(ev.Refused(key, "limits", "too little memory to start", is_limit=True))
            case jail.Ended():
                raise AssertionError(f"{self} keeps a jail that went")

    def _is_stale(self, key: int) -> bool:
        return key in self._jails and self._jails[key].warden.is_retired
