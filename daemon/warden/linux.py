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
CLONE_NEWNS = 0x20000
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

_SYS_PIVOT_ROOT = 155  # x86-64, like every number here
_SYS_CLONE3 = 435
_SYS_CAPSET = 126
_CAPABILITY_VERSION_3 = 0x20080522
_SIGCHLD = 17
_SYS_CLOSE_RANGE = 436
_CLOSE_RANGE_CLOEXEC = 4  # Linux 5.11
_LAST_DESCRIPTOR = 2**32 - 1
_BPF_INSTRUCTION_BYTES = 8

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


class _SockFprog(ctypes.Structure):
    """struct sock_fprog of seccomp(2)."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _failed(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def fork_into(namespaces: int) -> tuple[int, int]:
    """Fork into new namespaces: (pid, pidfd) in the parent, (0, -1) in the child. The pidfd is close-on-exec."""
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArgs(flags=namespaces | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=_SIGCHLD)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_libc.syscall(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
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


def setns(descriptor: int, kind: int) -> None:
    if _libc.setns(descriptor, kind):
        raise _failed("setns")


def unshare(flags: int) -> None:
    if _libc.unshare(flags):
        raise _failed("unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    def encoded(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    if _libc.mount(encoded(source), encoded(target), encoded(kind), ctypes.c_ulong(flags), encoded(options)):
        raise _failed(f"mount {target}")


def pivot_into(root: str) -> None:
    """Make `root`, a mount point, the root directory and let go of the old one."""
    os.chdir(root)
    if _libc.syscall(_SYS_PIVOT_ROOT, b".", b"."):
        raise _failed("pivot_root")
    if _libc.umount2(b".", MNT_DETACH):
        raise _failed("umount2 of the old root")


def close_on_exec(low: int) -> None:
    """All descriptors from `low` on, whatever they are."""
    arguments = (ctypes.c_uint(low), ctypes.c_uint(_LAST_DESCRIPTOR), ctypes.c_uint(_CLOSE_RANGE_CLOEXEC))
    if _libc.syscall(_SYS_CLOSE_RANGE, *arguments):
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


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets (capset(2)); nsjail fills the inheritable one."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _libc.syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())):
        raise _failed("capset")


def install_filter(program: bytes) -> None:
    """Install a compiled seccomp filter for this process and all it starts. Needs no_new_privs."""
    if not program or len(program) % _BPF_INSTRUCTION_BYTES:
        raise OSError(22, f"seccomp: a filter of {len(program)} bytes")
    fprog = _SockFprog(len(program) // _BPF_INSTRUCTION_BYTES, program)
    if _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(fprog), 0, 0):
        raise _failed("seccomp")
