"""Where control groups are mounted and which of them this process is in (cgroups(7), proc(5))."""

import contextlib
import dataclasses
import os
import signal
import time

from daemon.sandbox.errors import CallersFault

from .files import READ_BYTES, Files, keyed

HINT = "under systemd the unit needs Delegate=yes; without it run as root with a writable cgroup mount"
PATIENCE_S = 2.0  # for the processes of a leftover group to die


class TooSmall(CallersFault):
    """A memory limit below what the group uses already."""


@dataclasses.dataclass(frozen=True, slots=True)
class OutOfMemory:
    """`own`: the group hit its own limit. `killed`: the kernel killed a process of it for want of memory."""

    own: bool
    killed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Our own group's directory in each v1 hierarchy by controller, and in cgroup2 where that is mounted."""

    v1: dict[str, str]
    v2: str | None


def read() -> Table:
    """Join /proc/self/mountinfo with /proc/self/cgroup; a group outside of what is mounted is left out."""
    mounted: dict[str, tuple[str, str]] = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            front, _, back = line.partition(" - ")
            kind, _, options = back.split()[:3]
            root, point = front.split()[3:5]
            if kind == "cgroup2":
                mounted.setdefault("", (root, point))
            elif kind == "cgroup":
                for option in options.split(","):
                    mounted.setdefault(option, (root, point))
    found_v1: dict[str, str] = {}
    found_v2 = None
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                directory = _visible(mounted.get(controller), path)
                if directory is None:
                    continue
                if controller == "":
                    found_v2 = directory
                else:
                    found_v1[controller] = directory
    return Table(found_v1, found_v2)


def _visible(mounted: tuple[str, str] | None, path: str) -> str | None:
    if mounted is None:
        return None
    root, point = mounted
    if path == root or root == "/" or path.startswith(root + "/"):
        relative = path if root == "/" else path[len(root) :]
        directory = os.path.normpath(point + "/" + relative)
        return directory if os.path.isdir(directory) else None
    return None


def read_text(path: str) -> str:
    """Without the layers of open()."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, READ_BYTES).decode()
    finally:
        os.close(descriptor)


def write_text(path: str, value: str | int) -> None:
    """Raises OSError that names the file and the value."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {value} to {path}: {error.strerror}") from error


def read_keyed(path: str) -> dict[str, int]:
    """A flat keyed file such as memory.events or cpu.stat."""
    return keyed(read_text(path))


def lacked_processes(files: Files, directory: str) -> bool:
    """What Group.lacked_processes promises, of the group that has the controller pids."""
    if files.read_keyed(f"{directory}/pids.events")["max"] == 0:
        return False
    peak = peak_processes(files, directory)
    limit = read_text(f"{directory}/pids.max").strip()
    return peak > 0 and (limit == "max" or peak < int(limit))


def peak_processes(files: Files, directory: str) -> int:
    """The most that were in a group at once, of one that has the controller pids; 0 where the kernel does not tell."""
    try:
        return int(files.read(f"{directory}/pids.peak"))  # Linux 6.1
    except FileNotFoundError:
        return 0


def destroy(directory: str, patience_s: float) -> bool:
    """Kill all processes in and below a group and remove it; False when that took longer than `patience_s`."""
    deadline = time.monotonic() + patience_s
    while os.path.isdir(directory):
        for parent, children, _ in os.walk(directory, topdown=False):
            for pid in _processes(parent):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(OSError):
                    os.rmdir(f"{parent}/{child}")
        with contextlib.suppress(OSError):
            os.rmdir(directory)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)  # a dying process leaves its group when it is gone; nothing signals that on v1
    return True


def _processes(directory: str) -> list[int]:
    try:
        return [int(pid) for pid in read_text(f"{directory}/cgroup.procs").split()]
    except OSError:
        return []
