"""Why a run ended, decided from its signs alone: pure, so that every combination can be tested."""

import dataclasses

from daemon.host.cgroup import OutOfMemory
from daemon.sandbox.model import KilledBy


@dataclasses.dataclass(frozen=True, slots=True)
class Signs:
    """What is known when everything of the jail is dead.

    `killed_by`: our own first reason to kill. `failed`: something of ours went wrong. `too_small`: the jail used more
    than its memory limit before go. `cpu_ns` None: the kernel does not tell. `lacked_processes`: the host refused it a
    process or a thread that its own limit allowed.
    """

    killed_by: KilledBy | None
    failed: bool
    wait_status: int | None
    memory: OutOfMemory
    too_small: bool
    cpu_ns: int | None
    cpu_limit_ns: int | None
    lacked_processes: bool = False


def cause(signs: Signs) -> KilledBy | None:
    """None when the program ended by itself within its limits. Memory goes before cpu, cpu before wall time.

    LOST is everything that is not the program's doing: our failure, the host's shortage of memory or of processes, or
    an init that went without a word and without a reason.
    """
    if signs.failed:
        return KilledBy.LOST
    if signs.memory.own or signs.too_small:
        return KilledBy.MEMORY
    if signs.memory.killed or signs.lacked_processes:
        return KilledBy.LOST
    if signs.killed_by in (None, KilledBy.WALL) and _over_cpu_limit(signs):
        return KilledBy.CPU  # between two looks at the counter
    if signs.killed_by is not None:
        return signs.killed_by
    return KilledBy.LOST if signs.wait_status is None else None


def _over_cpu_limit(signs: Signs) -> bool:
    return signs.cpu_limit_ns is not None and signs.cpu_ns is not None and signs.cpu_ns > signs.cpu_limit_ns
