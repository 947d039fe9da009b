"""Who gets which jail of one step, and how many are made: a pure state machine.

Every event ends in the same decision anew (`_settle`): parked jails go to whoever waits, first come, first served; for
each ticket that got none a jail is started; and then as many as are missing, a few at a time. Nothing stays short until
the next request. A jail is a key, whoever waits is a ticket; both are numbers of the shell's.
"""

import dataclasses
from typing import NamedTuple

from .machine import Tick

RETRY_S, RETRY_S_MAX = 0.1, 5.0  # after a failure, doubled each time
RETRY_DOUBLINGS = 6  # until RETRY_S_MAX
REFILL_S = 0.005  # a new jail costs as much as a short run: while there are enough, leave the processors to that run


# -- events


@dataclasses.dataclass(frozen=True, slots=True)
class Acquire:
    """Somebody wants a jail. `is_own`: one that is started for this ticket, because its command names the limits."""

    ticket: int
    is_own: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """The ticket is given back: no jail is wanted for it any more."""

    ticket: int


@dataclasses.dataclass(frozen=True, slots=True)
class IsParked:
    """A jail that we started is ready. `is_stale`: its warden is being replaced, so it is not to be kept."""

    key: int
    is_stale: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """A jail that we started or keep is none any more. `is_limit`: it could not be started within the limits of the
    ticket that it was started for. Whatever ends such a jail is no failure of the pool."""

    key: int
    stage: str
    reason: str
    is_limit: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Wardens:
    """Whether there is one that makes jails; `problem` says why not. `lost`: keys of parked jails of one that goes."""

    problem: str | None
    lost: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """The baseline memory is known, so limits can be set: jails may be made from now on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """Whether parked jails may take more memory."""

    is_there: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Close:
    """The keeper stops."""


Event = Acquire | Cancel | IsParked | Refused | Wardens | Measured | Room | Close


# -- effects


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Make a jail; IsParked or Refused with its key follows. `ticket`: for this one alone, with its limits."""

    key: int
    is_background: bool
    ticket: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Give:
    """The jail is the ticket's from now on."""

    key: int
    ticket: int


@dataclasses.dataclass(frozen=True, slots=True)
class Deny:
    """The ticket gets none. `is_limit`: because of its own limits."""

    ticket: int
    stage: str
    reason: str
    is_limit: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Destroy:
    """Kill the jail; we hear no more of it."""

    key: int


@dataclasses.dataclass(frozen=True, slots=True)
class Hurry:
    """Somebody waits for the jail that was started in the background."""

    key: int


Effect = Start | Give | Deny | Destroy | Hurry


class Waiting(NamedTuple):
    """A ticket, until when it waits, and for a jail of its own that jail's key."""

    ticket: int
    deadline_s: float
    key: int | None = None


class State(NamedTuple):
    """`wanted` are to be parked; `starting_max` are started at once in the background. Times by the caller's clock."""

    wanted: int
    starting_max: int
    patience_s: float
    is_measured: bool
    problem: str | None = "no warden"
    has_room: bool = True
    is_closed: bool = False
    parked: tuple[int, ...] = ()
    starting: tuple[int, ...] = ()  # for nobody in particular
    hurried: frozenset[int] = frozenset()
    waiting: tuple[Waiting, ...] = ()
    next_key: int = 1
    failures: int = 0
    retry_s: float | None = None  # after a failure: no start in the background before
    refill_s: float | None = None  # while enough are parked: no start in the background before

    @property
    def shared(self) -> tuple[Waiting, ...]:
        """Those who take any jail."""
        return tuple(waiting for waiting in self.waiting if waiting.key is None)

    @property
    def is_low(self) -> bool:
        """Less than half of what is wanted is parked."""
        return len(self.parked) < self.wanted / 2


Step = tuple[State, list[Effect]]


def due(state: State) -> float | None:
    """When the next Tick is wanted."""
    times = [waiting.deadline_s for waiting in state.waiting]
    if not state.is_closed and state.problem is None and len(state.parked) + len(state.starting) < state.wanted:
        times += [time_s for time_s in (state.retry_s, state.refill_s) if time_s is not None]
    return min(times, default=None)


def decide(state: State, event: Event | Tick, now: float) -> Step:
    """What the event makes of the state, and what is to be done."""
    effects: list[Effect] = []
    match event:
        case Acquire(ticket, is_own):
            state = _acquire(state, ticket, is_own, now, effects)
        case Cancel(ticket):
            state = _cancel(state, ticket, effects)
        case IsParked(key, is_stale):
            state = _parked(state, key, is_stale, effects)
        case Refused(key):
            state = _refused(state, event, key, now, effects)
        case Wardens(problem, lost):
            effects += [Destroy(key) for key in state.parked if key in lost]
            parked = tuple(key for key in state.parked if key not in lost)
            state = state._replace(problem=problem, parked=parked)
            if problem is None:  # earlier failures say nothing about it
                state = state._replace(failures=0, retry_s=None)
        case Measured():
            state = state._replace(is_measured=True)
        case Room(is_there):
            state = state._replace(has_room=is_there)
        case Close():
            state = state._replace(is_closed=True)
        case Tick():
            state = _on_time(state, now, effects)
    return _settle(state, now, effects)


def _acquire(state: State, ticket: int, is_own: bool, now: float, effects: list[Effect]) -> State:
    if state.is_closed or (state.problem is not None and (is_own or not state.parked)):
        effects.append(Deny(ticket, "acquire", state.problem or "the keeper stops"))
        return state
    waiting = Waiting(ticket, now + state.patience_s, state.next_key if is_own else None)
    if is_own:
        effects.append(Start(state.next_key, False, ticket))
        state = state._replace(next_key=state.next_key + 1)
    elif len(state.parked) - len(state.shared) > state.wanted / 2 and state.refill_s is None:
        state = state._replace(refill_s=now + REFILL_S)
    return state._replace(waiting=(*state.waiting, waiting))


def _cancel(state: State, ticket: int, effects: list[Effect]) -> State:
    own = [waiting.key for waiting in state.waiting if waiting.ticket == ticket and waiting.key is not None]
    effects += [Destroy(key) for key in own]
    rest = tuple(waiting for waiting in state.waiting if waiting.ticket != ticket)
    return state._replace(waiting=rest)


def _parked(state: State, key: int, is_stale: bool, effects: list[Effect]) -> State:
    state = state._replace(failures=0, retry_s=None)
    for waiting in state.waiting:
        if waiting.key == key:
            effects.append(Give(key, waiting.ticket))
            return state._replace(waiting=tuple(other for other in state.waiting if other is not waiting))
    if key not in state.starting:
        return state  # it was destroyed when this was on its way
    state = _without(state, key)
    is_wanted = state.shared or not (state.is_closed or is_stale or len(state.parked) >= state.wanted)
    if not is_wanted:
        effects.append(Destroy(key))  # those that it was made for have gone, or got another
        return state
    return state._replace(parked=(*state.parked, key))


def _refused(state: State, event: Refused, key: int, now: float, effects: list[Effect]) -> State:
    own = [waiting for waiting in state.waiting if waiting.key == key]
    is_ours = key in state.starting or key in state.parked
    if not own and not is_ours:
        return state  # it was destroyed when this was on its way
    was_starting = key in state.starting
    state = _without(state, key)
    denied = own
    if was_starting and len(state.shared) > len(state.starting):
        denied = [state.shared[0]]  # one jail less than was hoped for
    is_limit = event.is_limit and bool(own)
    effects += [Deny(waiting.ticket, event.stage, event.reason, is_limit) for waiting in denied]
    state = state._replace(waiting=tuple(waiting for waiting in state.waiting if waiting not in denied))
    if own:
        return state  # with other limits than the pool's, it says nothing about the pool's jails
    retry_s = now + min(RETRY_S * 2 ** min(state.failures, RETRY_DOUBLINGS), RETRY_S_MAX)
    return state._replace(failures=state.failures + 1, retry_s=retry_s)


def _without(state: State, key: int) -> State:
    return state._replace(
        starting=tuple(other for other in state.starting if other != key),
        parked=tuple(other for other in state.parked if other != key),
        hurried=state.hurried - {key},
    )


def _on_time(state: State, now: float, effects: list[Effect]) -> State:
    for waiting in state.waiting:
        if now >= waiting.deadline_s:
            effects.append(Deny(waiting.ticket, "acquire", f"no jail within {state.patience_s:.0f} s"))
            state = _cancel(state, waiting.ticket, effects)
    if state.retry_s is not None and now >= state.retry_s:
        state = state._replace(retry_s=None)
    if state.refill_s is not None and now >= state.refill_s:
        state = state._replace(refill_s=None)
    return state


def _settle(state: State, now: float, effects: list[Effect]) -> Step:
    """Who gets what, and what is started."""
    if state.is_closed:
        effects += [Deny(waiting.ticket, "acquire", "the keeper stops") for waiting in state.waiting]
        effects += [Destroy(key) for key in (*state.parked, *state.starting)]
        return state._replace(waiting=(), parked=(), starting=(), hurried=frozenset()), effects
    state = _give(state, effects)
    if state.problem is not None and not state.starting:
        hopeless = state.shared
        effects += [Deny(waiting.ticket, "acquire", state.problem) for waiting in hopeless]
        state = state._replace(waiting=tuple(other for other in state.waiting if other not in hopeless))
    if not state.is_measured or state.problem is not None:
        return state, effects
    state = _hurry(state, effects)
    while len(state.starting) < len(state.shared):
        state = _start(state, effects, is_background=False)
    is_time = state.retry_s is None and (state.refill_s is None or state.is_low)
    while (
        is_time
        and state.has_room
        and len(state.parked) + len(state.starting) < state.wanted
        and len(state.starting) < state.starting_max
    ):
        state = _start(state, effects, is_background=not state.is_low)
    return state, effects


def _give(state: State, effects: list[Effect]) -> State:
    pairs = list(zip(state.parked, state.shared, strict=False))
    if not pairs:
        return state
    effects += [Give(key, waiting.ticket) for key, waiting in pairs]
    served = {waiting.ticket for _, waiting in pairs}
    rest = tuple(waiting for waiting in state.waiting if waiting.ticket not in served)
    return state._replace(parked=state.parked[len(pairs) :], waiting=rest)


def _hurry(state: State, effects: list[Effect]) -> State:
    """Those that somebody waits for, and all where few are left: one that gives way may never be ready."""
    count = len(state.starting) if state.is_low else len(state.shared)
    late = [key for key in state.starting[:count] if key not in state.hurried]
    effects += [Hurry(key) for key in late]
    return state._replace(hurried=state.hurried | set(late)) if late else state


def _start(state: State, effects: list[Effect], *, is_background: bool) -> State:
    effects.append(Start(state.next_key, is_background))
    hurried = state.hurried if is_background else state.hurried | {state.next_key}
    starting = (*state.starting, state.next_key)
    return state._replace(starting=starting, hurried=hurried, next_key=state.next_key + 1)
