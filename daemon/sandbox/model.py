"""The bounds and the facts of one run: Limits, Usage, Outcome."""

import dataclasses
import enum
from typing import Self

MAX_ARTIFACT_BYTES = 64 << 20
WAITING_MAX = 10  # times its wall limit that a graded run may wait for a processor; beyond it nothing is said of it


class KilledBy(enum.StrEnum):
    """Why a run was ended from outside; the kernel's own kills of a program are in the wait status."""

    WALL = "wall"
    CPU = "cpu"
    MEMORY = "memory"  # the jail itself hit its limit, told by the counters of its own group
    OUTPUT = "output"
    CLIENT = "client"  # whoever asked no longer wants the answer
    LOST = "lost"  # our failure: init, warden or host went away; the program is not to blame


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run. `cpu_ns` None: CPU time is not limited. `cpu_share_ms` None: no quota.

    `cpu_share_ms` is CPU milliseconds per period of one second (500 is half a CPU). `processes` counts threads
    too and does not count the jail's init.
    """

    memory_bytes: int
    wall_ns: int
    processes: int
    cpu_ns: int | None = None
    cpu_share_ms: int | None = None

    def within(self, maximum: Self) -> str | None:
        """The name of the first bound that lies above `maximum`, or None."""
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), getattr(maximum, field.name)
            if most is not None and (value is None or value > most):
                return field.name
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a run used. None: the kernel does not tell."""

    wall_ns: int
    cpu_ns: int | None
    memory_bytes: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to the process: a fact, not a verdict.

    `wait_status` is wait(2)'s raw status of the program, None where it never reported one. `killed_by` is the
    keeper's reason, None when the program ended by itself.
    """

    wait_status: int | None
    killed_by: KilledBy | None
    usage: Usage
