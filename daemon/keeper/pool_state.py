"""Who gets which jail of one step, and how many are made: a pure state machine.

Every event ends in the same decision anew (`_settle`): parked jails go to whoever waits, first come, first served, but
the last of them not to who is patient or has other runs; for each ticket that got none a jail is started; and then as
many as are missing, a few at a time. Nothing stays short until the next request. Who has other runs is taken to come a
little later for each. A few of those that start have the usual share of the processors, and the others a tenth, so that
who makes many start takes little from others' runs. A jail is a key, whoever waits is a ticket; both are numbers of the
shell's.
"""

from typing import NamedTuple

from . import pool_events as ev
from .machine import Tick

RETRY_S, RETRY_S_MAX = 0.1, 5.0  # after a failure, doubled each time
RETRY_DOUBLINGS = 6  # until RETRY_S_MAX
RESERVE_PART = 3  # of the wanted ones
# A new jail costs as much as a short run, or more: while there are enough, the processors are left to the run that took
# one, and to the answer or the next step after its end.
REFILL_S, REFILL_AFTER_RUN_S = 0.1, 0.02
SHARING_S = 0.05  # for each other run that the client has
YIELD_S = 0.25  # so long who has other runs leaves others the last parked jail, and what starts for him gives way


class Waiting(NamedTuple):
    """A ticket, until when it waits, when it came or is taken to have come, for a jail of its own that jail's key,
    whether it is patient, and whether it gives way, until YIELD_S after `came_s`, because its client has other runs."""

    ticket: int
    deadline_s: float
    came_s: float
    key: int | None = None
    is_patient: bool = False
    yields: bool = False

    def yields_at(self, now: float) -> bool:
        """Whether it gives way still."""
        return self.yields and now < self.came_s + YIELD_S


class State(NamedTuple):
    """`wanted` are to be parked; `starting_max` are started at once while nobody waits. Times by the caller's clock."""

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
    kept_last: bool = False  # of two new jails one is kept, and one given to who waits and leaves some to others

    @property
    def shared(self) -> tuple[Waiting, ...]:
        """Those who take any jail."""
        return tuple(waiting for waiting in self.waiting if waiting.key is None)

    def left_by(self, waiting: Waiting) -> int:
        """Parked jails that the ticket leaves to others: a part of them, and of several one to who has nothing."""
        part = self.wanted // RESERVE_PART
        if self.problem is not None:
            return 0
        if waiting.yields:
            return max(part, min(1, self.wanted - 1))
        return part if waiting.is_patient else 0

    @property
    def hurried_max(self) -> int:
        """So many start with the usual share of the processors, where somebody waits who has nothing else, or few are
        left."""
        is_wanted = self.is_low or not all(waiting.yields for waiting in self.shared)
        return max(1, self.starting_max // 2) if is_wanted else 0

    @property
    def is_low(self) -> bool:
        """Less than half of what is wanted is parked."""
        return len(self.parked) < self.wanted / 2


Step = tuple[State, list[ev.Effect]]


def due(state: State) -> float | None:
    """When the next Tick is wanted."""
    times = [waiting.deadline_s for waiting in state.waiting]
    times += [waiting.came_s + YIELD_S for waiting in state.waiting if waiting.yields]
    if not state.is_closed and state.problem is None and len(state.parked) + len(state.starting) < state.wanted:
        times += [time_s for time_s in (state.retry_s, state.refill_s) if time_s is not None]
    return min(times, default=None)


def decide(state: State, event: ev.Event | Tick, now: float) -> Step:
    """What the event makes of the state, and what is to be done."""
    effects: list[ev.Effect] = []
    match event:
        case ev.Acquire():
            state = _acquire(state, event, now, effects)
        case ev.Cancel(ticket):
            state = _cancel(state, ticket, effects)
        case ev.RunEnded() if state.refill_s is not None:
            state = state._replace(refill_s=min(state.refill_s, now + REFILL_AFTER_RUN_S))
        case ev.IsParked(key, is_stale):
            state = _parked(state, key, is_stale, effects)
        case ev.Refused(key):
            state = _refused(state, event, key, now, effects)
        case ev.Wardens(problem, lost):
            effects += [ev.Destroy(key) for key in state.parked if key in lost]
            parked = tuple(key for key in state.parked if key not in lost)
            state = state._replace(problem=problem, parked=parked)
            if problem is None:  # earlier failures say nothing about it
                state = state._replace(failures=0, retry_s=None)
        case ev.Measured():
            state = state._replace(is_measured=True)
        case ev.Room(is_there):
            state = state._replace(has_room=is_there)
        case ev.Close():
            state = state._replace(is_closed=True)
        case Tick():
            state = _on_time(state, now, effects)
    return _settle(state, now, effects)


def _acquire(state: State, event: ev.Acquire, now: float, effects: list[ev.Effect]) -> State:
    ticket, is_own = event.ticket, event.is_own
    if state.is_closed or (state.problem is not None and (is_own or not state.parked)):
        effects.append(ev.Deny(ticket, "acquire", state.problem or "the keeper stops"))
        return state
    has_others, came_s = event.sharing > 1, now + SHARING_S * (event.sharing - 1)
    key = state.next_key if is_own else None
    waiting = Waiting(ticket, now + state.patience_s, came_s, key, event.is_patient, has_others)
    if is_own:
        effects.append(ev.Start(state.next_key, has_others, ticket))
        state = state._replace(next_key=state.next_key + 1)
    elif len(state.parked) - len(state.shared) > state.wanted / 2 and state.refill_s is None:
        state = state._replace(refill_s=now + REFILL_S)
    in_order = sorted((*state.waiting, waiting), key=lambda one: one.came_s)
    return state._replace(waiting=tuple(in_order))


def _cancel(state: State, ticket: int, effects: list[ev.Effect]) -> State:
    own = [waiting.key for waiting in state.waiting if waiting.ticket == ticket and waiting.key is not None]
    effects += [ev.Destroy(key) for key in own]
    return _without_ticket(state, ticket)


def _parked(state: State, key: int, is_stale: bool, effects: list[ev.Effect]) -> State:
    state = state._replace(failures=0, retry_s=None)
    for waiting in state.waiting:
        if waiting.key == key:
            effects.append(ev.Give(key, waiting.ticket))
            return _without_ticket(state, waiting.ticket)
    if key not in state.starting:
        return state  # it was destroyed when this was on its way
    state = _without(state, key)
    if state.shared:
        first = state.shared[0]
        keeps = state.has_room and len(state.parked) < state.left_by(first) and not (is_stale or state.kept_last)
        state = state._replace(kept_last=keeps)
        if not keeps:
            effects.append(ev.Give(key, first.ticket))
            return _without_ticket(state, first.ticket)
    is_wanted = not (state.is_closed or is_stale or len(state.parked) >= state.wanted)
    if not is_wanted:
        effects.append(ev.Destroy(key))  # those that it was made for have gone, or got another
        return state
    return state._replace(parked=(*state.parked, key))


def _refused(state: State, event: ev.Refused, key: int, now: float, effects: list[ev.Effect]) -> State:
    own = [waiting for waiting in state.waiting if waiting.key == key]
    is_ours = key in state.starting or key in state.parked
    if not own and not is_ours:
        return state  # it was destroyed when this was on its way
    was_starting = key in state.starting
    state = _without(state, key)
    denied = own
    if was_starting and len(state.shared) > len(state.starting):  # one jail less than was hoped for
        if state.parked:
            state = _give_oldest(state, state.shared[0], effects)
        else:
            denied = [state.shared[0]]
    is_limit = event.is_limit and bool(own)
    effects += [ev.Deny(waiting.ticket, event.stage, event.reason, is_limit) for waiting in denied]
    state = _without_ticket(state, *(waiting.ticket for waiting in denied))
    if own:
        return state  # with other limits than the pool's, it says nothing about the pool's jails
    retry_s = now + min(RETRY_S * 2 ** min(state.failures, RETRY_DOUBLINGS), RETRY_S_MAX)
    return state._replace(failures=state.failures + 1, retry_s=retry_s)


def _without_ticket(state: State, *tickets: int) -> State:
    return state._replace(waiting=tuple(waiting for waiting in state.waiting if waiting.ticket not in tickets))


def _without(state: State, key: int) -> State:
    return state._replace(
        starting=tuple(other for other in state.starting if other != key),
        parked=tuple(other for other in state.parked if other != key),
        hurried=state.hurried - {key},
    )


def _on_time(state: State, now: float, effects: list[ev.Effect]) -> State:
    over = [waiting for waiting in state.waiting if waiting.yields and not waiting.yields_at(now)]
    effects += [ev.Hurry(waiting.key) for waiting in over if waiting.key is not None]
    state = state._replace(waiting=tuple(waiting._replace(yields=waiting.yields_at(now)) for waiting in state.waiting))
    for waiting in state.waiting:
        if now >= waiting.deadline_s:
            effects.append(ev.Deny(waiting.ticket, "acquire", f"no jail within {state.patience_s:.0f} s"))
            state = _cancel(state, waiting.ticket, effects)
    if state.retry_s is not None and now >= state.retry_s:
        state = state._replace(retry_s=None)
    if state.refill_s is not None and now >= state.refill_s:
        state = state._replace(refill_s=None)
    return state


def _settle(state: State, now: float, effects: list[ev.Effect]) -> Step:
    """Who gets what, and what is started."""
    if state.is_closed:
        effects += [ev.Deny(waiting.ticket, "acquire", "the keeper stops") for waiting in state.waiting]
        effects += [ev.Destroy(key) for key in (*state.parked, *state.starting)]
        return state._replace(waiting=(), parked=(), starting=(), hurried=frozenset()), effects
    state = _give(state, effects)
    if state.problem is not None and not state.starting:
        hopeless = [waiting.ticket for waiting in state.shared]
        effects += [ev.Deny(ticket, "acquire", state.problem) for ticket in hopeless]
        state = _without_ticket(state, *hopeless)
    if not state.is_measured or state.problem is not None:
        return state, effects
    state = _hurry(state, effects)
    while len(state.starting) < len(state.shared):
        state = _start(state, effects)
    is_time = state.retry_s is None and (state.refill_s is None or state.is_low)
    while (
        is_time
        and state.has_room
        and len(state.parked) + len(state.starting) < state.wanted
        and len(state.starting) < state.starting_max
    ):
        state = _start(state, effects)
    return state, effects


def _give(state: State, effects: list[ev.Effect]) -> State:
    for waiting in state.shared:
        if len(state.parked) > state.left_by(waiting):
            state = _give_oldest(state, waiting, effects)
    return state


def _give_oldest(state: State, waiting: Waiting, effects: list[ev.Effect]) -> State:
    effects.append(ev.Give(state.parked[0], waiting.ticket))
    return _without_ticket(state, waiting.ticket)._replace(parked=state.parked[1:])


def _hurry(state: State, effects: list[ev.Effect]) -> State:
    """The first of those that start, where somebody waits or few are left: one that gives way may never be ready."""
    late = set(state.starting[: state.hurried_max]) - state.hurried
    effects += [ev.Hurry(key) for key in sorted(late)]
    return state._replace(hurried=state.hurried | late) if late else state


def _start(state: State, effects: list[ev.Effect]) -> State:
    is_background = len(state.starting) >= state.hurried_max
    effects.append(ev.Start(state.next_key, is_background))
    hurried = state.hurried if is_background else state.hurried | {state.next_key}
    starting = (*state.starting, state.next_key)
    return state._replace(starting=starting, hurried=hurried, next_key=state.next_key + 1)
