"""Descriptors of processes and files that came from elsewhere: is it what it must be?"""

import os
import signal
import stat
from collections.abc import Callable

PF_EXITING = 0x4  # include/linux/sched.h
FLAGS_AFTER_NAME = 6  # of the fields of /proc/PID/stat that follow the name


def is_regular_file(descriptor: int, bytes_max: int) -> bool:
    """True for a regular file of at most `bytes_max` bytes; False for anything else, and where fstat(2) fails."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= bytes_max


def waited_ns(thread: str) -> int:
    """Time that it was ready to run and had no processor; 0 for one that is gone, and where the kernel does not tell.

    From /proc/TID/schedstat (Documentation/scheduler/sched-stats.rst of the kernel).
    """
    try:
        with open(f"/proc/{thread}/schedstat") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def is_pidfd(descriptor: int) -> bool:
    """True for a pidfd (pidfd_open(2)), of a process that is gone too."""
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True


def is_ending(pidfd: int) -> bool:
    """The process of this pidfd is on its way out, or gone, though it may be no zombie yet (proc(5), stat, `flags`)."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as file:
            pid = int(dict(line.split(":", 1) for line in file)["Pid"])
        if pid <= 0:  # -1: it was waited for (pidfd_open(2))
            return True
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(fields[FLAGS_AFTER_NAME]) & PF_EXITING)


def opened(ids: Callable[[], list[str]], inner: int) -> int | None:
    """A pidfd, the caller's to close, of the process that has the id `inner` in its own pid namespace; None where there
    is none. `ids` lists those that it is one of, whose ids outside of that namespace may pass to others at any time:
    one that is listed while its pidfd is open is that process, or the pidfd's has ended. Raises OSError.
    """
    for pid in ids():
        try:
            found = os.pidfd_open(int(pid))
        except ProcessLookupError:
            continue
        if _inner_id(pid) == inner and pid in ids():
            return found
        os.close(found)
    return None


def _inner_id(pid: str) -> int | None:
    """In the innermost pid namespace that it is in (proc(5), status, NSpid); None for one that is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[-1]) for line in file if line.startswith("NSpid:")), None)
    except (FileNotFoundError, ProcessLookupError):
        return None
