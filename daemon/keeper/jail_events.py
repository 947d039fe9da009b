"""What can happen to a jail, and what can be done about it: the events and effects of jail_state."""

import dataclasses

from daemon.sandbox.model import KilledBy

# -- events


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """The warden answered: the jail's init exists."""


@dataclasses.dataclass(frozen=True, slots=True)
class NotMade:
    """The warden answered, or died: there is no such jail."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class IsParked:
    """It said on its channel that it waits for go."""


@dataclasses.dataclass(frozen=True, slots=True)
class GoSent:
    """Go was sent, but where it is `too_small`: the jail uses more than its memory limit already.

    `started_s`: just before it was sent; the program may have run, and even ended, before anybody hears of this.
    `by_warden`: the warden tells of the program's end, else the jail's init. `is_graded`: what it waits for a processor
    does not count towards its wall limit.
    """

    started_s: float
    wall_s: float
    cpu_ns: int | None
    cores: int
    too_small: bool = False
    by_warden: bool = True
    is_graded: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramEnded:
    """Its wait status came. `is_alone`: nothing else of the jail is alive, so nothing is to be waited for.

    `ended_s`: when it ended, as far as whoever waited for it knows; None: just now.
    """

    status: int
    is_alone: bool
    ended_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelClosed:
    """Nobody in the jail holds its channel any more. `is_expected`: by a fork, which closes it at go."""

    is_expected: bool


@dataclasses.dataclass(frozen=True, slots=True)
class AllDead:
    """The jail's init is dead, and with it all of its pid namespace (pid_namespaces(7))."""


@dataclasses.dataclass(frozen=True, slots=True)
class WallPassed:
    """The wall limit has passed. `is_alive`: a program of the jail is; else it has ended, or has not started yet.

    `waited_s`: the longest that a thread of the jail has been ready to run, and had no processor, in its life.
    """

    is_alive: bool
    waited_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class CpuUsed:
    """What the jail's counter says now; None: the kernel does not tell."""

    cpu_ns: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Kill:
    """End it for this reason."""

    why: KilledBy


@dataclasses.dataclass(frozen=True, slots=True)
class Fail:
    """Something of ours does not work: no verdict may come of it."""

    stage: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Removed:
    """What came of a try to remove the group."""

    is_gone: bool


Event = (
    Made
    | NotMade
    | IsParked
    | GoSent
    | ProgramEnded
    | ChannelClosed
    | AllDead
    | WallPassed
    | CpuUsed
    | Kill
    | Fail
    | Removed
)


# -- effects


@dataclasses.dataclass(frozen=True, slots=True)
class TellParked:
    """To the owner."""


@dataclasses.dataclass(frozen=True, slots=True)
class TellRefused:
    """To the owner: nothing ran."""

    stage: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class TellOutcome:
    """To the owner, with the figures read now."""


@dataclasses.dataclass(frozen=True, slots=True)
class KillAll:
    """Lift the CPU quota (a throttled process dies slowly) and kill all processes of the jail."""


@dataclasses.dataclass(frozen=True, slots=True)
class BlameWarden:
    """The warden hangs, and every jail after this one would too: end it."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class AskIfAlive:
    """Answer with WallPassed."""


@dataclasses.dataclass(frozen=True, slots=True)
class LookAtCpu:
    """Answer with CpuUsed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Close every descriptor of the jail and try to remove its group; answer with Removed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Log:
    """One line for the log."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class TellGone:
    """To the owner of its number: nothing of it is left."""


Effect = (
    TellParked | TellRefused | TellOutcome | KillAll | BlameWarden | AskIfAlive | LookAtCpu | Release | Log | TellGone
)
