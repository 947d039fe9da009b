"""The life of one warden as a pure state machine.

STARTING -> READY -> DYING -> GONE        (a warden that never becomes ready goes from STARTING to DYING)
"""

import dataclasses
import enum
from typing import NamedTuple

from .machine import Tick

REAP_S, REAP_S_MAX = 0.005, 1.0  # between two looks whether it is dead; doubled each time
REAP_LOUD_S = 5.0  # then the log says so, once


class Phase(enum.StrEnum):
    """Where a warden is in its life."""

    STARTING = "starting"  # nsjail was started; Ready has not come
    READY = "ready"  # it makes jails; its fleet bounds its age
    DYING = "dying"  # it was killed; nsjail is not reaped or its group not removed
    GONE = "gone"


@dataclasses.dataclass(frozen=True, slots=True)
class IsReady:
    """It said so."""


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """It ended, spoke nonsense, hangs, or is to be replaced."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reaped:
    """What came of a look."""

    is_gone: bool


Event = IsReady | End | Reaped


@dataclasses.dataclass(frozen=True, slots=True)
class TellReady:
    """To the fleet."""


@dataclasses.dataclass(frozen=True, slots=True)
class KillIt:
    """Close its socket and kill nsjail: every jail of it dies. Whoever waits for an answer is told that none comes."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class TellDead:
    """To the fleet."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reap:
    """Look whether nsjail is dead and remove the group; answer with Reaped."""


@dataclasses.dataclass(frozen=True, slots=True)
class Log:
    """One line for the log."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class TellGone:
    """To the fleet: its slot is free."""


Effect = TellReady | KillIt | TellDead | Reap | Log | TellGone


class State(NamedTuple):
    """`deadline_s`: when it must be ready; of a dying one, when to look again."""

    deadline_s: float
    phase: Phase = Phase.STARTING
    pause_s: float = REAP_S
    dying_since_s: float | None = None


def new(patience_s: float, now: float) -> State:
    """A warden that must be ready within `patience_s`."""
    return State(now + patience_s)


def due(state: State) -> float | None:
    """When the next Tick is wanted."""
    return state.deadline_s if state.phase in (Phase.STARTING, Phase.DYING) else None


def decide(state: State, event: Event | Tick, now: float) -> tuple[State, tuple[Effect, ...]]:
    """What the event makes of the state, and what is to be done."""
    match event, state.phase:
        case IsReady(), Phase.STARTING:
            return state._replace(phase=Phase.READY), (TellReady(),)
        case Tick(), Phase.STARTING if now >= state.deadline_s:
            return _end(state, "not ready in time", now)
        case IsReady(), Phase.READY:
            return _end(state, "said twice that it is ready", now)
        case End(reason), (Phase.STARTING | Phase.READY):
            return _end(state, reason, now)
        case Tick(), Phase.DYING if now >= state.deadline_s:
            return state._replace(deadline_s=now + state.pause_s), (Reap(),)
        case Reaped(is_gone), Phase.DYING:
            return (state._replace(phase=Phase.GONE), (TellGone(),)) if is_gone else _wait(state, now)
        case _:
            return state, ()


def _end(state: State, reason: str, now: float) -> tuple[State, tuple[Effect, ...]]:
    state = state._replace(phase=Phase.DYING, deadline_s=now + REAP_S, dying_since_s=now)
    # TellDead comes first: KillIt takes jails from runs, which ask the fleet for others, and those must not be ours.
    return state, (TellDead(reason), KillIt(reason), Reap())


def _wait(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    effects: tuple[Effect, ...] = ()
    since_s = state.dying_since_s
    if since_s is not None and now - since_s >= REAP_LOUD_S:
        effects, since_s = (Log(f"not dead after {now - since_s:.0f} s"),), None
    pause_s = min(2 * state.pause_s, REAP_S_MAX)
    return state._replace(deadline_s=now + state.pause_s, pause_s=pause_s, dying_since_s=since_s), effects
