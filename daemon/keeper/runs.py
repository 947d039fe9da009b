"""One run of a peer: waits for a jail, has it go, and says what becomes of it."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from daemon.sandbox import messages
from daemon.sandbox.model import KilledBy, Outcome, Usage

from . import jail
from .cores import Cores
from .kinds import why_not
from .pool import Pool

log = logging.getLogger("cellblock.keeper")


class Speaker(Protocol):
    """The peer, as its runs see it."""

    def say(self, message: messages.Message, descriptors: Sequence[int] = ()) -> None:
        """Send it, with copies of the descriptors."""

    def run_ended(self, number: int) -> None:
        """Nothing more will be said of the run."""


class Run:
    """Takes a jail from the pool; it owns the descriptors of its order until go, and closes them by `close`."""

    def __init__(
        self, speaker: Speaker, order: messages.Run, given: list[int], pool: Pool, close: Callable[[list[int]], None],
        cores: Cores,
    ) -> None:  # fmt: skip
        self._speaker, self._order, self._given, self._pool, self._close = speaker, order, given, pool, close
        self._cores = cores
        self._core: int | None = None  # ours until the end
        self._core_ticket: int | None = None
        self._jail: jail.Jail | None = None
        self._ticket: int | None = None
        self._is_held = False  # its jail is parked, and waits for `begin`

    def __repr__(self) -> str:
        return f"<Run {self._order.run}: {self._jail or 'waits for a jail'}>"

    def start(self) -> None:
        """Ask the pool; what comes of it may be said before this returns."""
        order = self._order
        reason = why_not(self._pool.step, order, self._given)
        if reason is not None:
            self.denied("go", reason)
            return
        ticket = self._pool.acquire(self, order.limits, order.graded or order.held, order.sharing)
        if self._jail is None:
            self._ticket = ticket

    def begin(self) -> None:
        """Have it go, if it is held. How long it may be is its peer's affair, as long as that lives."""
        if self._is_held and self._jail is not None:
            self._is_held = False
            self._have_go(self._jail)

    def kill(self, why: KilledBy) -> None:
        """End it, whatever has become of it."""
        if self._jail is not None:
            self._jail.kill(why)
        elif self._ticket is not None:
            self._pool.cancel(self._ticket)
            self.denied("kill", str(why))

    def signal(self, number: int) -> None:
        """Send a signal to its program, where it has one."""
        if self._jail is not None:
            self._jail.signal(number)

    # -- from the pool

    def given(self, found: jail.Jail) -> None:
        """A parked jail: have it go, and tell the peer; or tell it alone, where the run is held."""
        self._jail, found.owner = found, self._hear
        self._is_held = self._order.held
        if self._is_held:
            self._tell_started(found)
        else:
            self._have_go(found)

    def _have_go(self, found: jail.Jail) -> None:
        """Where it is graded, as soon as there is a core."""
        if self._order.graded:
            self._core_ticket = self._cores.take(lambda core: self._go_on(found, core))
        else:
            self._go(found, None)

    def _go_on(self, found: jail.Jail, core: int) -> None:
        """The core comes from another run's end, which must not meet our exceptions."""
        self._core, self._core_ticket = core, None
        try:
            self._go(found, core if self._cores.pins else None)
        except Exception as error:
            log.exception("%r", self)
            found.fail("keeper", repr(error))

    def _go(self, found: jail.Jail, core: int | None) -> None:
        order = self._order
        try:
            reason = found.go(order, self._given, core)
        finally:
            self._close_given()
        if reason is not None:  # it may have ended a moment ago, and its pool not have heard of it yet
            found.owner = _ignore
            found.fail("go", reason)
            self.denied("go", reason)
            return
        if not order.held:
            self._tell_started(found)  # the program runs while the peer takes its pipes

    def _tell_started(self, found: jail.Jail) -> None:
        self._speaker.say(messages.Started(self._order.run), found.pipes)
        found.close_pipes()

    def denied(self, stage: str, reason: str) -> None:
        """No jail, or one that did not go: tell the peer."""
        self._ticket = None
        self._close_given()
        self._give_core()
        short = messages.REASON_CHARACTERS
        self._speaker.say(messages.Refused(self._order.run, stage[:short], reason[:short]))
        self._speaker.run_ended(self._order.run)

    def met_memory_limit(self) -> None:
        """What the peer hears of any run that is killed at its limit: it began, said nothing and ended."""
        self._ticket = None
        self._close_given()
        pipes: list[int] = []
        try:
            for far_end in (1, 0, 0):
                pair = os.pipe()
                pipes.append(pair[far_end])
                os.close(pair[1 - far_end])
            self._speaker.say(messages.Started(self._order.run), pipes)
        except OSError as error:
            self.denied("limits", str(error))
            return
        finally:
            self._close(pipes)
        outcome = Outcome(None, KilledBy.MEMORY, Usage(0, None, None))
        self._speaker.say(messages.Ended.of(self._order.run, outcome, ()))
        self._speaker.run_ended(self._order.run)

    def _give_core(self) -> None:
        core, self._core = self._core, None
        ticket, self._core_ticket = self._core_ticket, None
        if ticket is not None:
            self._cores.cancel(ticket)
        if core is not None:
            self._cores.give(core)

    def _close_given(self) -> None:
        given, self._given = self._given, []
        self._close(given)

    # -- from the jail

    def _hear(self, news: jail.News) -> None:
        match news:
            case jail.Ended(outcome, left):
                self._give_core()
                numbers = tuple(sorted(left))
                message = messages.Ended.of(self._order.run, outcome, numbers)
                self._speaker.say(message, [left[number] for number in numbers])
                self._speaker.run_ended(self._order.run)
                self._pool.run_ended()
            case jail.Refused(stage, reason):
                self.denied(stage, reason)
            case jail.Parked() | jail.TooSmall():
                raise AssertionError(f"{self} was given a jail that was not parked")


def _ignore(_: jail.News) -> None:
    """Owns a jail that nobody wants to hear of."""
