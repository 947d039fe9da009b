"""The few Linux calls that the standard library lacks, by ctypes. Each raises OSError with the name of the call."""

import ctypes
import os
from typing import Any

# mount(2), umount2(2)
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

# clone(2), setns(2), unshare(2)
CLONE_VM = 0x100
CLONE_FILES = 0x400
CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_PARENT_SETTID = 0x100000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET
"""Those of a jail; the cgroup namespace follows once it is in its group, so that the group is its root."""

# prctl(2)
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

# Numbers of the calls that are made by table (calls.py), x86-64
SYS_READ = 0
SYS_WRITE = 1
SYS_CLOSE = 3
SYS_RT_SIGACTION = 13
SYS_MADVISE = 28
SYS_DUP2 = 33
SYS_PAUSE = 34
SYS_SENDMSG = 46
SYS_RECVMSG = 47
SYS_CLONE = 56
SYS_CHDIR = 80
SYS_MKDIR = 83
SYS_CHMOD = 90
SYS_CHOWN = 92
SYS_UMASK = 95
SYS_SETSID = 112
SYS_SETGROUPS = 116
SYS_SETRESUID = 117
SYS_SETRESGID = 119
SYS_CAPSET = 126
SYS_PIVOT_ROOT = 155
SYS_PRCTL = 157
SYS_MOUNT = 165
SYS_UMOUNT2 = 166
SYS_SETHOSTNAME = 170
SYS_EXIT_GROUP = 231
SYS_UNSHARE = 272
SYS_PIPE2 = 293
SYS_SETNS = 308
SYS_PRLIMIT64 = 302
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436

MADV_POPULATE_WRITE = 23  # Linux 5.14
CLONE_ARGS_BYTES = 88  # struct clone_args of clone3(2), version 2 (Linux 5.7)
LAST_DESCRIPTOR = 2**32 - 1
_SIGCHLD = 17
_CLOSE_RANGE_CLOEXEC = 4  # Linux 5.11

_libc = ctypes.CDLL(None, use_errno=True)


class _CloneArgs(ctypes.Structure):
    """struct clone_args of clone3(2), version 2 (Linux 5.7)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


def _failed(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def fork_into(namespaces: int) -> tuple[int, int]:
    """Fork into new namespaces: (pid, pidfd) in the parent, (0, -1) in the child. The pidfd is close-on-exec."""
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArgs(flags=namespaces | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=_SIGCHLD)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_libc.syscall(SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    error = _failed("clone3") if pid < 0 else None
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if error is not None:
        raise error
    return pid, pidfd.value


def clone_paused(namespaces: int, stack: ctypes.Array[ctypes.c_char]) -> int:
    """A pidfd of a new process that shares our memory and descriptors and is inside pause(2) until it is killed.

    It never comes back from there (no handler runs: all its signals are at their default, which for pid 1 of a
    namespace means ignored), so `stack` can serve any number of them, one after the other.
    """
    pidfd = ctypes.c_int(-1)
    pause = ctypes.cast(_libc.pause, ctypes.c_void_p).value
    clone(pause, stack, namespaces | CLONE_VM | CLONE_FILES | CLONE_PIDFD | _SIGCHLD, ctypes.byref(pidfd))
    return pidfd.value


def clone(function: int | None, stack: ctypes.Array[ctypes.c_char], flags: int, pidfd: Any = None) -> None:
    """A new process that begins in `function`. Raises OSError."""
    top = (ctypes.addressof(stack) + ctypes.sizeof(stack) - 64) & ~15
    if _libc.clone(ctypes.c_void_p(function), ctypes.c_void_p(top), flags, None, pidfd) < 0:
        raise _failed("clone")


def mprotect(address: int, size: int, protection: int) -> None:
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), protection):
        raise _failed("mprotect")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    def encoded(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    if _libc.mount(encoded(source), encoded(target), encoded(kind), ctypes.c_ulong(flags), encoded(options)):
        raise _failed(f"mount {target}")


def close_on_exec(low: int) -> None:
    """All descriptors from `low` on, whatever they are."""
    arguments = (ctypes.c_uint(low), ctypes.c_uint(LAST_DESCRIPTOR), ctypes.c_uint(_CLOSE_RANGE_CLOEXEC))
    if _libc.syscall(SYS_CLOSE_RANGE, *arguments):
        raise _failed("close_range")


def prctl(option: int, argument: int = 0, second: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), zero, zero):
        raise _failed(f"prctl {option}")


def drop_bounding_set() -> None:
    """Take every capability from what this process and its children can ever gain (capabilities(7))."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
