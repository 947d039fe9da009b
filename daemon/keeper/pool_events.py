"""What can happen to a pool, and what can be done about it: the events and effects of pool_state."""

import dataclasses

# -- events


@dataclasses.dataclass(frozen=True, slots=True)
class Acquire:
    """Somebody wants a jail. `is_own`: one that is started for this ticket, because its command names the limits.
    `is_patient`: the last parked ones are left to others. `sharing`: runs that its client has with this one."""

    ticket: int
    is_own: bool = False
    is_patient: bool = False
    sharing: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """The ticket is given back: no jail is wanted for it any more."""

    ticket: int


@dataclasses.dataclass(frozen=True, slots=True)
class RunEnded:
    """A run that had a jail of ours is over."""


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


Event = Acquire | Cancel | RunEnded | IsParked | Refused | Wardens | Measured | Room | Close


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
