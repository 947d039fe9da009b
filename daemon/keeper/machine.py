"""Drives a pure state machine: decides, then performs, one event after the other.

A machine is two pure functions over frozen data: `decide(state, event, now) -> (state, effects)` and `due(state)`, the
time at which it wants a `Tick` (CLOCK_MONOTONIC, seconds; None: it waits for others only). Their unit tests need
neither root nor a clock. The driver holds the state, performs the effects on the loop and keeps the one timer.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from .loop import Guard, Timer


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """The time that `due` named has come, or has nearly: look at `now`."""


TICK = Tick()


State = TypeVar("State")
Event = TypeVar("Event")
Effect = TypeVar("Effect")


class Machine(Generic[State, Event, Effect]):
    """Feeds events to a pure machine. An event that comes while another is worked on waits for its turn."""

    def __init__(
        self,
        guard: Guard,
        state: State,
        decide: Callable[[State, Event | Tick, float], tuple[State, Iterable[Effect]]],
        due: Callable[[State], float | None],
        perform: Callable[[Effect], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = state
        self._guard, self._decide, self._due, self._perform, self._clock = guard, decide, due, perform, clock
        self._events: deque[Event | Tick] = deque()
        self._is_busy = False
        self._timer: Timer | None = None
        self._timer_due: float | None = None
        self._set_timer()  # the first state has a deadline, too, and perhaps nothing happens in it

    def feed(self, event: Event | Tick) -> None:
        """Decide and perform. An effect that raises is logged and blamed on the owner; the others are performed."""
        self._events.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._events:
                self.state, effects = self._decide(self.state, self._events.popleft(), self._clock())
                for effect in effects:
                    try:
                        self._perform(effect)
                    except Exception as error:
                        self._guard.blame(error)
        finally:
            self._is_busy = False
            self._set_timer()

    def _set_timer(self) -> None:
        due = self._due(self.state)
        if due == self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due = due
        if due is not None:
            self._timer = self._guard.after(max(0.0, due - self._clock()), self._on_time)

    def _on_time(self) -> None:
        self._timer = self._timer_due = None
        self.feed(TICK)
