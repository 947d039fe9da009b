"""cgroup v2: one hierarchy (Documentation/admin-guide/cgroup-v2.rst of the kernel)."""

import contextlib
import errno
import os

from daemon.host import cores
from daemon.sandbox.model import Limits

from . import mounts
from .files import Files
from .kept import LEFT_BYTES_MAX, PEAK_PROCESSES_MAX, Kept
from .reclaim import WORTH_BYTES, Reclaim

CONTROLLERS = ("memory", "pids", "cpu")
WEIGHT, BACKGROUND_WEIGHT, PINNED_WEIGHT = 100, 10, 150  # 100 is the kernel's default
PERIOD_US = 1_000_000
LEAF = "cellblock-daemon"
ALL_CORES = "\n"  # an empty line: those of the group above (cgroup-v2.rst)


class Group:
    """One directory with cpu, memory and pids enabled. What its methods promise stands in the Group of __init__.py."""

    def __init__(self, name: str, directory: str) -> None:
        self.name = name
        self._directory = directory
        os.mkdir(directory, 0o755)
        self._files = Files()
        self._forgets_peak = self._forget_peak()
        self._has_swap_accounting = os.path.exists(self._path("memory.swap.max"))
        self._reclaim = Reclaim(self._kernel_bytes, self._path("memory.reclaim"), str)  # Linux 5.19

    def __repr__(self) -> str:
        return f"<cgroup v2 {self.name}>"

    def _path(self, file: str) -> str:
        return f"{self._directory}/{file}"

    def join_descriptors(self) -> list[int]:
        return [self._files.open(self._path("cgroup.procs"), os.O_WRONLY)]

    def set_limits(self, limits: Limits) -> None:
        self._files.write(self._path("memory.max"), limits.memory_bytes)
        if self._has_swap_accounting:
            self._files.write(self._path("memory.swap.max"), 0)
        self._files.write(self._path("memory.oom.group"), 1)
        self._files.write(self._path("pids.max"), limits.processes)
        quota = "max" if limits.cpu_share_ms is None else str(limits.cpu_share_ms * PERIOD_US // 1000)
        self._files.write(self._path("cpu.max"), f"{quota} {PERIOD_US}")

    def watch_memory(self) -> int | None:
        return None  # memory.oom.group: the kernel kills the whole group itself

    def set_background(self, background: bool) -> None:
        self._files.write(self._path("cpu.weight"), BACKGROUND_WEIGHT if background else WEIGHT)

    def lessen(self, sharing: int) -> None:
        self._files.write(self._path("cpu.weight"), WEIGHT // sharing)

    def prefer(self) -> None:
        self._files.write(self._path("cpu.weight"), PINNED_WEIGHT)

    def pin(self, core: int) -> int | None:
        self._files.write(self._path("cpuset.cpus"), core)
        self.prefer()
        return None

    def pin_started(self, core: int) -> None:
        self.pin(core)

    def lift_cpu_quota(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.write(self._path("cpu.max"), f"max {PERIOD_US}")

    def kill(self) -> None:
        try:
            mounts.write_text(self._path("cgroup.kill"), 1)  # Linux 5.14
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # no such call, or no such group any more
                raise

    def cpu_ns(self) -> int | None:
        return self._files.read_keyed(self._path("cpu.stat"))["usage_usec"] * 1000

    def tasks(self) -> int:
        return int(self._files.read(self._path("pids.current")))

    def processes(self) -> int:
        return len(self.process_ids())

    def process_ids(self) -> list[str]:
        return mounts.read_text(self._path("cgroup.procs")).split()

    def threads(self) -> list[str]:
        return mounts.read_text(self._path("cgroup.threads")).split()

    def memory_bytes(self) -> int:
        statistics = self._files.read_keyed(self._path("memory.stat"))
        return statistics["anon"] + statistics["shmem"] + statistics.get("kernel", 0)

    def peak_memory_bytes(self) -> int | None:
        try:
            return int(self._files.read(self._path("memory.peak")))  # Linux 5.19
        except FileNotFoundError:
            return None

    def out_of_memory(self, told: bool) -> mounts.OutOfMemory:
        own = self._files.read_keyed(self._path("memory.events.local"))
        return mounts.OutOfMemory(own=own["oom"] > 0, killed=own["oom_kill"] > 0)

    def lacked_processes(self) -> bool:
        return mounts.lacked_processes(self._files, self._directory)

    def _kernel_bytes(self) -> int:
        if int(self._files.read(self._path("memory.current"))) < WORTH_BYTES:
            return 0  # memory.stat is dear
        return mounts.read_keyed(self._path("memory.stat"))["slab_reclaimable"]

    def is_as_new(self) -> bool:
        files = self._files
        return (
            self._forgets_peak
            and not files.has_failed
            and int(files.read(self._path("memory.current"))) < LEFT_BYTES_MAX
            and self.out_of_memory(False) == mounts.OutOfMemory(own=False, killed=False)
            and files.read_keyed(self._path("pids.events"))["max"] == 0
            and mounts.peak_processes(files, self._directory) <= PEAK_PROCESSES_MAX
        )

    def renew(self) -> bool:
        if self.tasks() > 0:
            return False
        self._files.reset(self._path("memory.peak"))
        self.set_background(False)
        if self._files.written(self._path("cpuset.cpus")) is not None:
            self._files.write(self._path("cpuset.cpus"), ALL_CORES)
        self._files.forget(self._path("cpu.max"))  # to write it gives the next all of its period's time again
        return True

    def _forget_peak(self) -> bool:
        """From Linux 6.12 on, and for whoever reads it by the same descriptor."""
        try:
            self._files.reset(self._path("memory.peak"))
        except OSError:
            return False
        return True

    def remove(self) -> bool:
        if not self._reclaim.is_over():
            return False
        try:
            os.rmdir(self._directory)
        except FileNotFoundError:
            pass  # somebody else removed it; that is what we wanted
        except OSError:
            return False
        self._files.close()
        return True


class Tree:
    """`cellblock-<instance>` below the group that we were given, beside a leaf that holds ourselves.

    A group with processes cannot hand controllers to its children (the "no internal processes" rule), so we move
    into a leaf first, and so must whoever started us. The root group is exempt.
    """

    version = 2

    def __init__(self, instance: str, own: str) -> None:
        given = enter_leaf(own)
        _enable(given)
        self._directory = f"{given}/cellblock-{instance}"
        mounts.destroy(self._directory, mounts.PATIENCE_S)
        os.mkdir(self._directory, 0o755)
        _enable(self._directory)
        self.cores = _enable_cpuset(given, self._directory)
        self._kept = Kept(self.make)

    def __repr__(self) -> str:
        return f"<cgroup v2 tree {self._directory}>"

    def paths(self) -> list[str]:
        return [self._directory]

    def limit_memory(self, memory_bytes: int) -> None:
        mounts.write_text(f"{self._directory}/memory.max", memory_bytes)

    def memory_bytes(self) -> int:
        used = int(mounts.read_text(f"{self._directory}/memory.current"))
        statistics = mounts.read_keyed(f"{self._directory}/memory.stat")
        return used - statistics["active_file"] - statistics["inactive_file"] + statistics["file_mapped"]

    def make(self, name: str) -> Group:
        return Group(name, f"{self._directory}/{name}")

    def take(self) -> Group:
        return self._kept.take()

    def keep(self, group: Group) -> bool:
        return self._kept.keep(group)


def enter_leaf(own: str) -> str:
    """Move this process into a leaf of the group `own` unless it is in one; the group that we were given.

    Raises OSError where systemd runs and has not delegated the group: what is in it is then systemd's.
    """
    if os.path.basename(own) == LEAF:
        return os.path.dirname(own)
    if not os.path.exists(f"{own}/cgroup.type"):  # absent in the root group
        return own
    if os.path.isdir("/run/systemd/system") and not _delegated(own):
        raise OSError(errno.EPERM, f"{own} is not delegated to us")
    os.makedirs(f"{own}/{LEAF}", 0o755, exist_ok=True)
    mounts.write_text(f"{own}/{LEAF}/cgroup.procs", os.getpid())
    return own


def _delegated(directory: str) -> bool:
    """systemd marks what it hands over (its document CGROUP_DELEGATION)."""
    try:
        return os.getxattr(directory, "trusted.delegate") == b"1"
    except OSError:
        return False


def _enable_cpuset(given: str, directory: str) -> tuple[int, ...]:
    """The processors that groups can be pinned to; none where we were not given the controller."""
    try:
        for each in (given, directory):
            mounts.write_text(f"{each}/cgroup.subtree_control", "+cpuset")
        return cores.parse(mounts.read_text(f"{directory}/cpuset.cpus.effective"))
    except (OSError, ValueError):
        return ()


def _enable(directory: str) -> None:
    mounts.write_text(f"{directory}/cgroup.subtree_control", " ".join(f"+{name}" for name in CONTROLLERS))
