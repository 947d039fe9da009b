"""Control groups behind one interface. `open_tree` holds the only test of the version in the whole code."""

import typing

from daemon.sandbox.errors import OurFault
from daemon.sandbox.model import Limits

from . import mounts, v1, v2


class Group(typing.Protocol):
    """One cgroup (v2), or one of the same name in each hierarchy (v1). None: the kernel does not tell."""

    name: str

    def join_descriptors(self) -> list[int]:
        """Descriptors, opened by root, through which a process joins by writing "0". They are the group's."""

    def set_limits(self, limits: Limits) -> None:
        """`processes` is all that is in the group.

        Raises OSError: a run must not go on without its limits; TooSmall where memory is used beyond them.
        """

    def watch_memory(self) -> int | None:
        """A descriptor that becomes readable when the group runs out of memory, where the kernel does not itself
        kill the whole group then. It is the group's."""

    def set_background(self, background: bool) -> None:
        """In the background it has a tenth of the processors that the others leave it. Raises OSError."""

    def lessen(self, sharing: int) -> None:
        """It has a part of a group's usual share of the processors: one of so many (sandbox.messages.SHARING_MAX), and
        more than one in the background. Raises OSError."""

    def prefer(self) -> None:
        """It goes before what is neither pinned nor preferred, as what is pinned does. Raises OSError."""

    def pin(self, core: int) -> int | None:
        """What is in it runs on this core alone, and goes before what is not pinned. None where that is so at once.

        Else a descriptor, the tree's, through which a process joins by writing "0": it is pinned, and what it starts.
        Raises OSError; Tree.cores are those to pin to.
        """

    def pin_started(self, core: int) -> None:
        """As `pin`, for all that runs in it already; no thread may be made meanwhile. Slow on v1. Raises OSError."""

    def lift_cpu_quota(self) -> None:
        """Removes the CPU quota before a kill, because a throttled process dies slowly."""

    def kill(self) -> None:
        """Kill all in the group. On v1 what is forked meanwhile lives on, and v2 before Linux 5.14 kills nothing."""

    def cpu_ns(self) -> int | None:
        """CPU time that all its processes have used so far, those that have ended included."""

    def tasks(self) -> int:
        """Threads of all its processes."""

    def processes(self) -> int:
        """How many processes are in it now."""

    def process_ids(self) -> list[str]:
        """Of its processes, as /proc has them."""

    def threads(self) -> list[str]:
        """Their numbers, as /proc has them."""

    def memory_bytes(self) -> int:
        """Memory that its processes hold at this moment, without pages of files: those stay when they end, and whoever
        read them first is charged. The kernel's own for them is counted on v2 alone, from Linux 5.18 on."""

    def peak_memory_bytes(self) -> int | None:
        """The most memory that was in use at any moment since it was made."""

    def out_of_memory(self, told: bool) -> "OutOfMemory":
        """`told`: the descriptor of `watch_memory` spoke, so the kernel may not have come to kill anything itself."""

    def lacked_processes(self) -> bool:
        """A process or thread was refused to it though it had fewer than its own limit: a group above had no more.

        False where the kernel does not tell: it has no pids.peak, or counts a refusal in the group above alone, as it
        does on v2 from Linux 6.11 on. Raises OSError.
        """

    def is_as_new(self) -> bool:
        """Of one whose processes have ended: next to nothing is on its account, the kernel has not counted any lack of
        memory or processes in it, few processes were in it at once, and all that was written to it was taken. Raises
        OSError, ValueError or KeyError where the kernel does not tell."""

    def renew(self) -> bool:
        """Forget the most memory that was in use, the share of the processors, the core and what of its CPU quota was
        used; limits stay until `set_limits`. False while a process that has ended is not gone from it, which takes the
        kernel a moment. Raises OSError where somebody has removed it."""

    def remove(self) -> bool:
        """False while the group is still busy."""


class Tree(typing.Protocol):
    """The subtree of one keeper instance."""

    version: int

    def paths(self) -> list[str]:
        """The directories of the subtree, for the record that the next keeper sweeps by."""

    @property
    def cores(self) -> tuple[int, ...]:
        """Numbers of the processors that a group can be pinned to; empty where this host cannot."""

    def limit_memory(self, memory_bytes: int) -> None:
        """Of all groups together, and of what removed ones have left on its account. Whoever is over it by this limit
        has not met a limit of its own. Raises OSError."""

    def memory_bytes(self) -> int:
        """Of all wardens and jails, without the file pages that no process maps now: those are the kernel's to take."""

    def make(self, name: str) -> Group:
        """Raises OSError with the path."""

    def take(self) -> Group:
        """For a jail: one that has served another and is as new, or a new one. Raises OSError with the path."""

    def keep(self, group: typing.Any) -> bool:
        """Keep one that was taken for another jail, once its processes have ended. False: it is to be removed."""


OutOfMemory = mounts.OutOfMemory
TooSmall = mounts.TooSmall


class Unavailable(OurFault):
    """No usable control groups; the text says which and what to do."""


def open_tree(instance: str) -> Tree:
    """Make the subtree of an instance below the group that this process is in. Raises Unavailable."""
    table = mounts.read()
    try:
        return v1.Tree(instance, table) if _is_v1(table) else v2.Tree(instance, str(table.v2))
    except OSError as error:
        raise Unavailable(f"cgroup: {error}; {mounts.HINT}") from error


def enter_leaf() -> None:
    """For whoever starts a keeper: leave the given group's own level, so that it can hold subgroups (v2 only).

    Raises Unavailable.
    """
    table = mounts.read()
    try:
        if not _is_v1(table):
            v2.enter_leaf(str(table.v2))
    except OSError as error:
        raise Unavailable(f"cgroup: {error}; {mounts.HINT}") from error


def _is_v1(table: mounts.Table) -> bool:
    """v1 where all that we need of it is mounted, else v2. Raises Unavailable when there is neither."""
    missing = [name for name in v1.CONTROLLERS if name not in table.v1]
    if missing and table.v2 is None:
        raise Unavailable(f"cgroup: v2 is not mounted, and v1 lacks {', '.join(missing)}; {mounts.HINT}")
    return not missing


def sweep(paths: list[str]) -> list[str]:
    """Kill and remove what an earlier keeper of this instance left; the paths that could not be removed."""
    return [path for path in paths if not mounts.destroy(path, mounts.PATIENCE_S)]
