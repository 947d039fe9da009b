"""How many wardens of one toolchain there are and which of them make jails: a pure state machine.

Forks of one warden share a hash seed and an address layout, so a warden serves for a time and a number of jails only: a
successor is started first, then the old one makes no more jails, and ends with the last of those that it made.
"""

import dataclasses
from typing import NamedTuple

from .machine import Tick

LOOK_S = 1.0  # between two looks at the wardens' ages
RESTART_S, RESTART_S_MAX = (
    0.05,
    5.0,
)  # at once after a warden that was ready, ever more slowly after ones that never were
RESTART_STEPS = 7  # doublings until RESTART_S_MAX
STEADY_S = 2.0  # a warden that ends younger than this has failed
STARTING = "its warden is starting"


# -- events


@dataclasses.dataclass(frozen=True, slots=True)
class IsReady:
    """The warden makes jails from now on."""

    key: int


@dataclasses.dataclass(frozen=True, slots=True)
class IsDead:
    """The warden ended, or could not be started."""

    key: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class IsGone:
    """Nothing is left of a dead warden."""

    key: int


@dataclasses.dataclass(frozen=True, slots=True)
class JailMade:
    """The warden was asked for one jail more."""

    key: int


@dataclasses.dataclass(frozen=True, slots=True)
class JailGone:
    """Nothing is left of one of its jails."""

    key: int


@dataclasses.dataclass(frozen=True, slots=True)
class Open:
    """Begin."""


@dataclasses.dataclass(frozen=True, slots=True)
class Close:
    """The keeper stops."""


Event = IsReady | IsDead | IsGone | JailMade | JailGone | Open | Close


# -- effects


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Start a warden; IsReady or IsDead follows."""

    key: int


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """End the warden; IsDead and IsGone follow."""

    key: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class TellPools:
    """`problem` may have changed; `lost` makes no more jails, and those parked with it are to be destroyed."""

    lost: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Log:
    """One line for the log."""

    text: str


Effect = Start | End | TellPools | Log


class Member(NamedTuple):
    """One warden. `live`: its jails of which something is left; `made`: all that it ever made."""

    key: int
    started_s: float
    is_ready: bool = False
    is_retired: bool = False
    made: int = 0
    live: int = 0

    @property
    def makes_jails(self) -> bool:
        """True when it is ready and not retired."""
        return self.is_ready and not self.is_retired


class State(NamedTuple):
    """`dying`: keys of dead wardens of which something is left. `restart_s`: no start before."""

    wanted: int
    runs_max: int
    age_max_s: float
    members: tuple[Member, ...] = ()
    dying: frozenset[int] = frozenset()
    problem: str | None = STARTING
    failures: int = 0
    restart_s: float | None = None
    look_s: float | None = None
    next_key: int = 1
    lost: int = 0  # wardens that ended, or never began, without being retired
    is_closed: bool = False

    @property
    def is_gone(self) -> bool:
        """Nothing is left of any warden."""
        return not self.members and not self.dying


Step = tuple[State, list[Effect]]


def counts(state: State) -> dict[str, int]:
    """What messages.Stats tells of a fleet."""
    since = [int(member.started_s) for member in state.members if member.makes_jails]
    return {"started": state.next_key - 1, "lost": state.lost, **({"since_s": min(since)} if since else {})}


def choose(state: State) -> int | None:
    """The key of the warden that is to make the next jail: the one with the fewest live ones; None: there is none."""
    makers = [member for member in state.members if member.makes_jails]
    return min(makers, key=lambda member: member.live).key if makers else None


def due(state: State) -> float | None:
    """When the next Tick is wanted."""
    if state.is_closed:
        return None
    return min((time_s for time_s in (state.restart_s, state.look_s) if time_s is not None), default=None)


def decide(state: State, event: Event | Tick, now: float) -> Step:
    """What the event makes of the state, and what is to be done."""
    effects: list[Effect] = []
    match event:
        case Open():
            state = state._replace(look_s=now + LOOK_S)
        case IsReady(key):
            state = _change(state, key, is_ready=True)
            state = state._replace(problem=None, restart_s=None)
            effects.append(TellPools())
        case IsDead(key, reason):
            state = _dead(state, key, reason, now, effects)
        case IsGone(key):
            return state._replace(dying=state.dying - {key}), effects
        case JailMade(key):
            return _count(state, key, made=1, live=1), effects
        case JailGone(key):
            state = _count(state, key, made=0, live=-1)
        case Close():
            state = state._replace(is_closed=True)
            return state, [End(member.key, "the keeper stops") for member in state.members]
        case Tick():
            state = _on_time(state, now, effects)
    effects += [End(member.key, "replaced") for member in state.members if member.is_retired and not member.live]
    return _fill(state, now, effects)


def _change(state: State, key: int, **changes: bool) -> State:
    members = tuple(member._replace(**changes) if member.key == key else member for member in state.members)
    return state._replace(members=members)


def _count(state: State, key: int, made: int, live: int) -> State:
    members = tuple(
        member._replace(made=member.made + made, live=member.live + live) if member.key == key else member
        for member in state.members
    )
    return state._replace(members=members)


def _dead(state: State, key: int, reason: str, now: float, effects: list[Effect]) -> State:
    found = [member for member in state.members if member.key == key]
    if not found:
        return state
    rest = tuple(member for member in state.members if member.key != key)
    state = state._replace(members=rest, dying=state.dying | {key})
    if not found[0].is_retired and not state.is_closed:
        state = state._replace(lost=state.lost + 1)
        effects.append(Log(reason))
    if choose(state) is None:
        state = state._replace(problem=reason)
    is_steady = found[0].is_ready and now - found[0].started_s >= STEADY_S
    state = state._replace(failures=0 if is_steady else state.failures + 1)
    if not found[0].is_retired:
        delay_s = min(RESTART_S * 2 ** min(state.failures, RESTART_STEPS), RESTART_S_MAX)
        state = state._replace(restart_s=max(now + delay_s, state.restart_s or 0.0))
    effects.append(TellPools(key))
    return state


def _on_time(state: State, now: float, effects: list[Effect]) -> State:
    if state.restart_s is not None and now >= state.restart_s:
        state = state._replace(restart_s=None)
    if state.look_s is None or now < state.look_s:
        return state
    state = state._replace(look_s=now + LOOK_S)
    for member in state.members:
        is_old = now - member.started_s > state.age_max_s or member.made >= state.runs_max
        makers = sum(other.makes_jails for other in state.members)
        if member.makes_jails and is_old and makers > state.wanted:
            state = _change(state, member.key, is_retired=True)
            effects.append(TellPools(member.key))
    return state


def _fill(state: State, now: float, effects: list[Effect]) -> Step:
    """Start as many as are missing, and one more while one is too old and has no successor."""
    if state.is_closed or state.look_s is None or (state.restart_s is not None and now < state.restart_s):
        return state, effects
    current = [member for member in state.members if not member.is_retired]
    has_old = any(now - member.started_s > state.age_max_s or member.made >= state.runs_max for member in current)
    wanted = state.wanted + has_old
    for _ in range(wanted - len(current)):
        effects.append(Start(state.next_key))
        member = Member(state.next_key, now)
        state = state._replace(members=(*state.members, member), next_key=state.next_key + 1)
    return state, effects
