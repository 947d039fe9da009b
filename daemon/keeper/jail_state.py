"""The life of one jail as a pure state machine: what an event means in a state, and what is to be done.

    MAKING -> STARTING -> PARKED -> RUNNING (-> OVERDUE) -> ENDING -> REMOVING -> GONE

Any phase before ENDING may go to ENDING, and where all of the jail is dead already, at once to REMOVING. Every phase
but PARKED has a deadline; a parked jail lives as long as its pool keeps it and its warden is not replaced.
docs/architecture.md has all of it as a table.
"""

import enum
from typing import NamedTuple

from daemon.sandbox.model import WAITING_MAX, KilledBy

from . import jail_events as ev
from .machine import Tick

STATUS_S = 2.0  # for the wait status of a program that ended by its wall limit to come
ENDING_S = 5.0  # for killed processes to be gone: the kernel frees what they had first
REMOVE_S, REMOVE_S_MAX = 0.002, 1.0  # between two tries to remove the group; doubled each time
REMOVE_LOUD_S = 2.0  # then the log says so, once
LEAST_CPU_LOOK_S = 0.001
OVERDUE_LOOK_S = 0.005  # between two looks for a program that starts only after its wall limit


class Phase(enum.StrEnum):
    """Where a jail is in its life."""

    MAKING = "making"  # the warden was asked for it
    STARTING = "starting"  # its init exists and confines itself
    PARKED = "parked"  # it waits for go
    RUNNING = "running"  # it was told to go
    OVERDUE = "overdue"  # the wall limit has passed and no program is alive: its status is awaited, or its start
    ENDING = "ending"  # all was killed; some of it may not be dead yet
    REMOVING = "removing"  # all is dead, the outcome told; its group is to be removed
    GONE = "gone"


class State(NamedTuple):
    """`exists`: True once the warden has answered that it does, None as long as it has not answered.

    `deadline_s`: when the phase is over. `killed_by`, `failure`: our first reason to end it. `go_sent`: so its
    end is an outcome, not a refusal. `is_told`: the owner knows of its end. `look_s`: when to look at its CPU time
    while it runs, and for its program while it is overdue.
    """

    patience_s: float  # for it to be made and parked
    deadline_s: float
    phase: Phase = Phase.MAKING
    exists: bool | None = None
    is_ready: bool = False  # it said that it waits for go before the warden said that it exists
    go_sent: bool = False
    is_told: bool = False
    too_small: bool = False
    killed_by: KilledBy | None = None
    failure: ev.Fail | None = None
    status: int | None = None
    started_s: float = 0.0  # by the caller's clock
    ended_s: float = 0.0
    wall_s: float = 0.0  # its limit, from started_s on
    cpu_limit_ns: int | None = None
    cores: int = 1
    by_warden: bool = True  # it tells of the program's end; else the jail's init does
    is_graded: bool = False
    look_s: float | None = None
    pause_s: float = REMOVE_S
    removing_since_s: float | None = None  # None: no longer of interest


Step = tuple[State, tuple[ev.Effect, ...]]
_BEFORE_GO = frozenset({Phase.MAKING, Phase.STARTING, Phase.PARKED})
GOING_ON = frozenset({Phase.RUNNING, Phase.OVERDUE})
_OVER = frozenset({Phase.ENDING, Phase.REMOVING, Phase.GONE})


def new(patience_s: float, now: float) -> State:
    """A jail that its warden is being asked for; it has `patience_s` to be made and parked."""
    return State(patience_s, now + patience_s)


def due(state: State) -> float | None:
    """When the next Tick is wanted."""
    match state.phase:
        case Phase.PARKED | Phase.GONE:
            return None
        case Phase.RUNNING | Phase.OVERDUE if state.look_s is not None:
            return min(state.deadline_s, state.look_s)
        case _:
            return state.deadline_s


def decide(state: State, event: ev.Event | Tick, now: float) -> Step:
    """What the event makes of the state, and what is to be done. An unexpected event is ignored, because messages
    cross, or ends the jail."""
    match event:
        case Tick():
            return _on_time(state, now)
        case ev.Made():
            return _made(state, now)
        case ev.NotMade(reason):
            return _not_made(state._replace(exists=False), reason, now)
        case ev.AllDead():
            return _all_dead(state, now)
        case ev.Removed(is_gone):
            return _removed(state, is_gone, now)
        case ev.Kill(why):
            return (state, ()) if state.phase in _OVER else _end(state._replace(killed_by=why), now)
        case ev.Fail():
            return _fail(state, event, now)
        case ev.IsParked():
            return _parked(state, now)
        case ev.GoSent():
            return _go(state, event, now)
        case _:
            return _of_the_program(state, event, now)


def _of_the_program(state: State, event: ev.Event, now: float) -> Step:
    match event:
        case ev.ProgramEnded():
            return _program_ended(state, event, now)
        case ev.ChannelClosed(is_expected):
            if state.phase in _BEFORE_GO:
                return _fail(state, ev.Fail("init", "ended before go"), now)
            is_lost = state.phase in GOING_ON and not is_expected
            return _end(state, now) if is_lost else (state, ())
        case ev.WallPassed() if state.phase in GOING_ON:
            return _wall_passed(state, event, now)
        case ev.CpuUsed(cpu_ns) if state.phase is Phase.RUNNING:
            return _cpu_used(state, cpu_ns, now)
        case _:
            return state, ()


def _on_time(state: State, now: float) -> Step:
    if state.phase in GOING_ON and now < state.deadline_s:
        if state.look_s is None or now < state.look_s:
            return state, ()
        if state.phase is Phase.OVERDUE:
            return state._replace(look_s=now + OVERDUE_LOOK_S), (ev.AskIfAlive(),)
        return state._replace(look_s=None), (ev.LookAtCpu(),)
    if state.phase in (Phase.PARKED, Phase.GONE) or now < state.deadline_s:
        return state, ()
    seconds = f"{state.patience_s:.0f} s"
    match state.phase:
        case Phase.MAKING:
            later = state._replace(deadline_s=now + state.patience_s)
            return later, (ev.BlameWarden(f"made no jail within {seconds}"),)
        case Phase.STARTING:
            return _fail(state, ev.Fail("park", f"not ready after {seconds}"), now)
        case Phase.RUNNING:
            return state._replace(deadline_s=now + STATUS_S), (ev.AskIfAlive(),)
        case Phase.OVERDUE:
            failed, effects = _fail(state, ev.Fail("program", "its end was not told"), now)
            blame = (ev.BlameWarden("did not tell of a program's end"),) if state.by_warden else ()
            return failed, (*effects, *blame)
        case Phase.ENDING:
            later = state._replace(deadline_s=now + ENDING_S)
            return later, (ev.KillAll(), ev.BlameWarden("a killed jail does not die, or was not even made"))
        case _:  # REMOVING
            return state._replace(deadline_s=now + state.pause_s), (ev.Release(),)


def _parked(state: State, now: float) -> Step:
    if state.phase is Phase.MAKING and not state.is_ready:  # its word overtook the warden's, on another socket
        return state._replace(is_ready=True), ()
    if state.phase is not Phase.STARTING:
        return _fail(state, ev.Fail("init", "spoke out of turn"), now)
    return state._replace(phase=Phase.PARKED), (ev.TellParked(),)


def _made(state: State, now: float) -> Step:
    state = state._replace(exists=True)
    if state.phase is Phase.ENDING:  # nothing could be killed before
        return state._replace(deadline_s=now + ENDING_S), (ev.KillAll(),)
    if state.phase is not Phase.MAKING:
        return state, ()
    if state.is_ready:
        return state._replace(phase=Phase.PARKED), (ev.TellParked(),)
    return state._replace(phase=Phase.STARTING, deadline_s=now + state.patience_s), ()


def _not_made(state: State, reason: str, now: float) -> Step:
    if state.phase is Phase.MAKING:
        return _fail(state, ev.Fail("make", reason), now)
    return _all_dead(state, now) if state.phase is Phase.ENDING else (state, ())


def _go(state: State, event: ev.GoSent, now: float) -> Step:
    if state.phase is not Phase.PARKED:
        return _fail(state, ev.Fail("go", f"the jail is {state.phase}, not parked"), now)
    state = state._replace(
        phase=Phase.RUNNING, go_sent=True, started_s=event.started_s,
        deadline_s=event.started_s + event.wall_s, wall_s=event.wall_s, too_small=event.too_small,
        cpu_limit_ns=event.cpu_ns, cores=event.cores, by_warden=event.by_warden, is_graded=event.is_graded,
    )  # fmt: skip
    if event.too_small:
        return _end(state._replace(killed_by=KilledBy.MEMORY), now)
    return _cpu_used(state, 0, now)


def _cpu_used(state: State, cpu_ns: int | None, now: float) -> Step:
    """CPU time is a counter, not an event: look again when the limit could be reached on all cores at once."""
    if state.cpu_limit_ns is None or cpu_ns is None:
        return state, ()
    if cpu_ns >= state.cpu_limit_ns:
        return _end(state._replace(killed_by=KilledBy.CPU), now)
    wait_s = max(LEAST_CPU_LOOK_S, (state.cpu_limit_ns - cpu_ns) / 1e9 / state.cores)
    return state._replace(look_s=now + wait_s), ()


def _program_ended(state: State, event: ev.ProgramEnded, now: float) -> Step:
    if state.phase in _BEFORE_GO:
        return _fail(state, ev.Fail("program", f"ended before go: wait status {event.status}"), now)
    if state.phase not in GOING_ON:
        return state, ()
    ended_s = state.ended_s if state.phase is Phase.OVERDUE else now
    if event.ended_s is not None:  # the jail said so: not before go, and not later than now
        ended_s = min(max(event.ended_s, state.started_s), now)
        if ended_s > state.started_s + state.wall_s and not state.is_graded:  # its own limit is CPU time
            state = state._replace(killed_by=KilledBy.WALL)
    state = state._replace(status=event.status, ended_s=ended_s)
    tells: tuple[ev.Effect, ...] = ()
    if event.is_alone:
        state, tells = state._replace(is_told=True), (ev.TellOutcome(),)
    state, effects = _end(state, now)
    return state, (*tells, *effects)


def _wall_passed(state: State, event: ev.WallPassed, now: float) -> Step:
    """Ends it, or looks for a program that has not started yet. A graded one may go on for as long as it has waited for
    a processor, which others took from it."""
    has_not_started = state.phase is Phase.OVERDUE
    if not event.is_alive:
        if has_not_started:
            return state, ()
        overdue = state._replace(phase=Phase.OVERDUE, ended_s=now, deadline_s=now + STATUS_S)
        return overdue._replace(look_s=now + OVERDUE_LOOK_S), ()
    if state.is_graded:
        waited_s = now - state.started_s if has_not_started else event.waited_s
        if waited_s > WAITING_MAX * state.wall_s:
            return _fail(state, ev.Fail("starved", f"it waited {waited_s:.1f} s for a processor"), now)
        end_s = state.started_s + state.wall_s + waited_s
        if now < end_s:
            running = state._replace(phase=Phase.RUNNING, ended_s=0.0, deadline_s=end_s)
            return _cpu_used(running, 0, now) if has_not_started else (running, ())
    return _end(state._replace(killed_by=KilledBy.WALL, ended_s=now), now)


def _fail(state: State, failure: ev.Fail, now: float) -> Step:
    if state.phase in _OVER:
        return state, ()
    state = state._replace(failure=failure, killed_by=KilledBy.LOST)
    state, effects = _end(state, now)
    return state, (ev.Log(f"{failure.stage}: {failure.reason}"), *effects)


def _end(state: State, now: float) -> Step:
    """The one way out: kill, wait until all is dead, read the figures, tell, remove the group."""
    wait_s = state.patience_s if state.exists is None else ENDING_S
    state = state._replace(phase=Phase.ENDING, ended_s=state.ended_s or now, deadline_s=now + wait_s, look_s=None)
    if state.exists is False:
        return _all_dead(state, now)
    return state, (ev.KillAll(),)


def _all_dead(state: State, now: float) -> Step:
    effects: list[ev.Effect] = []
    if state.phase not in _OVER:  # nobody killed it, and it said nothing
        if state.phase in _BEFORE_GO:
            state = state._replace(failure=ev.Fail("init", "ended before go"), killed_by=KilledBy.LOST)
        state = state._replace(ended_s=state.ended_s or now)
    elif state.phase is not Phase.ENDING:
        return state, ()
    if not state.is_told:
        effects.append(ev.TellOutcome() if state.go_sent else _refusal(state))
    state = state._replace(phase=Phase.REMOVING, is_told=True, deadline_s=now + REMOVE_S, removing_since_s=now)
    return state, (*effects, ev.Release())


def _refusal(state: State) -> ev.TellRefused:
    if state.failure is not None:
        return ev.TellRefused(state.failure.stage, state.failure.reason)
    return ev.TellRefused("kill", str(state.killed_by))


def _removed(state: State, is_gone: bool, now: float) -> Step:
    """A dead process leaves its group a moment later, and nothing signals that: try again, ever more slowly."""
    if state.phase is not Phase.REMOVING:
        return state, ()
    if is_gone:
        return state._replace(phase=Phase.GONE), (ev.TellGone(),)
    effects: tuple[ev.Effect, ...] = ()
    since_s = state.removing_since_s
    if since_s is not None and now - since_s >= REMOVE_LOUD_S:
        effects, since_s = (ev.Log(f"its group cannot be removed after {now - since_s:.0f} s; trying on"),), None
    pause_s = min(2 * state.pause_s, REMOVE_S_MAX)
    state = state._replace(deadline_s=now + state.pause_s, pause_s=pause_s, removing_since_s=since_s)
    return state, effects
