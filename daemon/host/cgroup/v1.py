"""cgroup v1: one hierarchy per controller (Documentation/admin-guide/cgroup-v1 of the kernel)."""

import contextlib
import errno
import os
import signal
from collections.abc import Mapping
from typing import NamedTuple

from daemon.host import cores
from daemon.sandbox.descriptors import close_all
from daemon.sandbox.model import Limits

from . import mounts
from .files import Files
from .kept import LEFT_BYTES_MAX, PEAK_PROCESSES_MAX, Kept
from .reclaim import Reclaim

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
SWAP_MARGIN_BYTES = 1 << 20
SHARES, BACKGROUND_SHARES, PINNED_SHARES = 1024, 102, 1536  # 1024 is the kernel's default
EVENTFD_BYTES = 8
PERIOD_US = 1_000_000  # 500 ms per 1 s: a run under half a second of CPU is never throttled


class Core(NamedTuple):
    """The group of a processor: descriptors through which a thread joins, and a whole process is moved."""

    tasks: int
    procs: int


class Group:
    """A group of the same name in each hierarchy; controllers that are mounted together share one directory.

    What its methods promise stands in the Group of __init__.py.
    """

    def __init__(self, name: str, directories: dict[str, str], cores: Mapping[int, Core]) -> None:
        self.name = name
        self._cores = cores
        self._directories = directories
        self._made: list[str] = []
        self._files = Files()
        self._memory_event: int | None = None
        self._reclaim = Reclaim(self._kernel_bytes, self._path("memory", "memory.force_empty"), lambda left_bytes: "0")
        try:
            for directory in dict.fromkeys(directories.values()):
                os.mkdir(directory, 0o755)
                self._made.append(directory)
        except OSError:
            self.remove()
            raise
        self._has_swap_accounting = os.path.exists(self._path("memory", "memory.memsw.limit_in_bytes"))

    def __repr__(self) -> str:
        return f"<cgroup v1 {self.name}>"

    def _path(self, controller: str, file: str) -> str:
        return f"{self._directories[controller]}/{file}"

    def join_descriptors(self) -> list[int]:
        # `tasks` moves one thread at once; cgroup.procs waits for a grace period. Who joins has one thread.
        return [self._files.open(f"{directory}/tasks", os.O_WRONLY) for directory in self._made]

    def set_limits(self, limits: Limits) -> None:
        self._set_memory(limits.memory_bytes)
        self._files.write(self._path("pids", "pids.max"), limits.processes)
        if limits.cpu_share_ms is None:
            self.lift_cpu_quota()
        else:
            self._files.write(self._path("cpu", "cpu.cfs_period_us"), PERIOD_US)
            quota_us = limits.cpu_share_ms * PERIOD_US // 1000
            self._files.write(self._path("cpu", "cpu.cfs_quota_us"), quota_us)

    def _set_memory(self, memory_bytes: int) -> None:
        """memory+swap may never be below memory, so a rise begins with it and a cut with memory.

        It gets a margin because only memory's own counter counts its refusals (memory.failcnt tells whose shortage an
        OOM was; that of memory+swap stays 0 on Linux 6.18); swappiness 0, which a group takes from the one above it,
        keeps anonymous memory out of swap.
        """
        limits = {"memory.limit_in_bytes": memory_bytes}
        if self._has_swap_accounting:
            limits["memory.memsw.limit_in_bytes"] = memory_bytes + SWAP_MARGIN_BYTES
        before = self._files.written(self._path("memory", "memory.limit_in_bytes"))
        rises = isinstance(before, int) and memory_bytes > before  # a new group has no limit
        for name in reversed(limits) if rises else limits:
            try:
                self._files.write(self._path("memory", name), limits[name])
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise mounts.TooSmall(str(error)) from error
                raise

    def lessen_swapping(self) -> None:
        """For the tree's top: groups made below take it over."""
        if self._has_swap_accounting:
            mounts.write_text(self._path("memory", "memory.swappiness"), 0)

    def watch_memory(self) -> int | None:
        if self._memory_event is None:
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                control = self._files.open(self._path("memory", "memory.oom_control"), os.O_RDONLY)
                mounts.write_text(self._path("memory", "cgroup.event_control"), f"{event} {control}")
            except OSError:
                os.close(event)
                raise
            self._memory_event = event
        return self._memory_event

    def set_background(self, background: bool) -> None:
        self._files.write(self._path("cpu", "cpu.shares"), BACKGROUND_SHARES if background else SHARES)

    def lessen(self, sharing: int) -> None:
        self._files.write(self._path("cpu", "cpu.shares"), SHARES // sharing)

    def prefer(self) -> None:
        self._files.write(self._path("cpu", "cpu.shares"), PINNED_SHARES)

    def pin(self, core: int) -> int | None:
        if core not in self._cores:
            raise OSError(errno.ENOSYS, "no such core to pin to")
        self.prefer()
        return self._cores[core].tasks

    def pin_started(self, core: int) -> None:
        # To move another process waits for a grace period of RCU: milliseconds in which the keeper does nothing else.
        self.pin(core)
        for process in self.process_ids():
            os.write(self._cores[core].procs, process.encode())

    def lift_cpu_quota(self) -> None:
        quota = self._path("cpu", "cpu.cfs_quota_us")
        if self._files.written(quota) is not None:
            with contextlib.suppress(FileNotFoundError):
                self._files.write(quota, -1)

    def kill(self) -> None:
        # A number may be of another process by now: it is killed by a pidfd that was opened while it was in the group.
        opened: dict[str, int] = {}
        try:
            for process in self.process_ids():
                with contextlib.suppress(ProcessLookupError):
                    opened[process] = os.pidfd_open(int(process))
            for process in self.process_ids():
                if process in opened:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(opened[process], signal.SIGKILL)
        finally:
            close_all(opened.values())

    def cpu_ns(self) -> int | None:
        return int(self._files.read(self._path("cpuacct", "cpuacct.usage")))

    def tasks(self) -> int:
        return int(self._files.read(self._path("pids", "pids.current")))

    def processes(self) -> int:
        return len(self.process_ids())

    def threads(self) -> list[str]:
        return mounts.read_text(self._path("pids", "tasks")).split()

    def process_ids(self) -> list[str]:
        try:
            return mounts.read_text(self._path("pids", "cgroup.procs")).split()
        except FileNotFoundError:  # somebody removed it, so nothing was in it
            return []

    def memory_bytes(self) -> int:
        statistics = self._files.read_keyed(self._path("memory", "memory.stat"))
        return statistics["rss"] + statistics["shmem"]

    def peak_memory_bytes(self) -> int | None:
        path = self._path("memory", "memory.max_usage_in_bytes")
        self._files.open(path, os.O_RDWR)  # `renew` writes to it
        return int(self._files.read(path))

    def out_of_memory(self, told: bool) -> mounts.OutOfMemory:
        # An ancestor's shortage is told to every group below it; only a group at its own limit has refusals.
        killed = told or self._files.read_keyed(self._path("memory", "memory.oom_control")).get("oom_kill", 0) > 0
        own = killed and int(self._files.read(self._path("memory", "memory.failcnt"))) > 0
        return mounts.OutOfMemory(own=own, killed=killed)

    def lacked_processes(self) -> bool:
        return mounts.lacked_processes(self._files, self._directories["pids"])

    def _kernel_bytes(self) -> int:
        return int(mounts.read_text(self._path("memory", "memory.kmem.usage_in_bytes")))

    def is_as_new(self) -> bool:
        files = self._files
        used = "memory.memsw.usage_in_bytes" if self._has_swap_accounting else "memory.usage_in_bytes"
        return (
            not files.has_failed
            and int(files.read(self._path("memory", used))) < LEFT_BYTES_MAX
            and int(files.read(self._path("memory", "memory.failcnt"))) == 0
            and files.read_keyed(self._path("memory", "memory.oom_control"))["oom_kill"] == 0
            and files.read_keyed(self._path("pids", "pids.events"))["max"] == 0
            and mounts.peak_processes(files, self._directories["pids"]) <= PEAK_PROCESSES_MAX
        )

    def renew(self) -> bool:
        if self.tasks() > 0:
            return False
        self._files.reset(self._path("memory", "memory.max_usage_in_bytes"))
        if self._memory_event is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._memory_event, EVENTFD_BYTES)
        self.cpu_ns()  # for somebody may have removed it in this hierarchy alone
        self.set_background(False)
        self._files.forget(self._path("cpu", "cpu.cfs_quota_us"))
        self._files.write(self._path("cpu", "cpu.cfs_quota_us"), -1)  # the next has all of its period's time again
        return True

    def remove(self) -> bool:
        if not self._reclaim.is_over():
            return False
        while self._made:
            try:
                os.rmdir(self._made[-1])
            except FileNotFoundError:
                pass  # somebody else removed it; that is what we wanted
            except OSError:
                return False
            self._made.pop()
        self._files.close()
        if self._memory_event is not None:
            os.close(self._memory_event)
            self._memory_event = None
        return True


class Tree:
    """`cellblock-<instance>` below our own group in each hierarchy."""

    version = 1

    def __init__(self, instance: str, table: mounts.Table) -> None:
        self._directories = {name: f"{table.v1[name]}/cellblock-{instance}" for name in CONTROLLERS}
        self._cpuset: str | None = None
        for path in self.paths():
            mounts.destroy(path, mounts.PATIENCE_S)
        Group("", self._directories, {}).lessen_swapping()
        self._cpuset = f"{table.v1['cpuset']}/cellblock-{instance}" if "cpuset" in table.v1 else None
        self._cores = {} if self._cpuset is None else _make_cores(self._cpuset)
        if not self._cores:
            self._cpuset = None
        self._kept = Kept(self.make)

    def __repr__(self) -> str:
        return f"<cgroup v1 tree {self._directories['memory']}>"

    @property
    def cores(self) -> tuple[int, ...]:
        return tuple(self._cores)

    def paths(self) -> list[str]:
        found = list(dict.fromkeys(self._directories.values()))
        return found if self._cpuset is None else [*found, self._cpuset]

    def limit_memory(self, memory_bytes: int) -> None:
        mounts.write_text(f"{self._directories['memory']}/memory.limit_in_bytes", memory_bytes)

    def memory_bytes(self) -> int:
        directory = self._directories["memory"]
        used = int(mounts.read_text(f"{directory}/memory.usage_in_bytes"))
        statistics = mounts.read_keyed(f"{directory}/memory.stat")
        cached = statistics["total_active_file"] + statistics["total_inactive_file"]
        return used - cached + statistics["total_mapped_file"]

    def make(self, name: str) -> Group:
        directories = {key: f"{directory}/{name}" for key, directory in self._directories.items()}
        return Group(name, directories, self._cores)

    def take(self) -> Group:
        return self._kept.take()

    def keep(self, group: Group) -> bool:
        return self._kept.keep(group)


def _make_cores(directory: str) -> dict[int, Core]:
    """A group for each processor that we may use; none of them where that does not work."""
    try:
        mounts.destroy(directory, mounts.PATIENCE_S)
        above = os.path.dirname(directory)
        whole = {name: mounts.read_text(f"{above}/{name}").strip() for name in ("cpuset.cpus", "cpuset.mems")}
        found = cores.parse(whole["cpuset.cpus"])
        _make_cpuset(directory, whole)
        for core in found:
            _make_cpuset(f"{directory}/core-{core}", {**whole, "cpuset.cpus": str(core)})
    except (OSError, ValueError):
        mounts.destroy(directory, mounts.PATIENCE_S)
        return {}
    return {
        core: Core(_opened(f"{directory}/core-{core}/tasks"), _opened(f"{directory}/core-{core}/cgroup.procs"))
        for core in found
    }


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def _make_cpuset(directory: str, files: dict[str, str]) -> None:
    os.mkdir(directory, 0o755)
    for name, text in files.items():  # empty at first, and then it takes no task (cpuset(7))
        mounts.write_text(f"{directory}/{name}", text)
