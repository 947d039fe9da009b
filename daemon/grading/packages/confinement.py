"""What a process gives up before it reads a package: time, memory, privileges, and every file but its own folder."""

import ctypes
import os
import resource
import signal

from daemon.sandbox.linux import PR_SET_PDEATHSIG, no_core_dumps, prctl

CPU_MORE_S = 2  # until SIGKILL: SIGXCPU tells of the limit, and SIGKILL alone of something else (getrlimit(2))
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
NOBODY = 65534
FILES_OPEN = 64

# landlock(7); the numbers are the same on every architecture
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
QUERY_VERSION = 1
PATH_BENEATH = 1
ACCESS_OF_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}

_libc = ctypes.CDLL(None, use_errno=True)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def confine(directory: int, parent: int, memory_bytes: int, cpu_s: int, file_bytes: int) -> None:
    """Keeps nothing but open descriptors and the folder `directory`; where it was root, it is nobody afterwards.

    It is killed when its parent (a pid) dies, and past `cpu_s`. Raises OSError.
    """
    if os.geteuid() == 0:
        os.fchown(directory, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))  # forgotten at a change of uid, so not before it
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    limits = {
        resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: FILES_OPEN, resource.RLIMIT_NPROC: 0,
    }  # fmt: skip
    for number, limit in limits.items():
        hard = resource.getrlimit(number)[1]
        most = limit + (CPU_MORE_S if number == resource.RLIMIT_CPU else 0)
        if hard != resource.RLIM_INFINITY:
            limit, most = min(limit, hard), min(most, hard)
        resource.setrlimit(number, (limit, most))
    no_core_dumps()
    _restrict_files(directory)
    if os.getppid() != parent:
        raise OSError("the parent is gone")


def landlock_version() -> int:
    """Of Landlock's interface in this kernel; below 1 where it has none, or it is switched off."""
    return int(_libc.syscall(SYS_CREATE_RULESET, None, ctypes.c_size_t(0), QUERY_VERSION))


def _restrict_files(directory: int) -> None:
    """Landlock, where the kernel has it (5.13 and later, and not switched off): a second wall, not the only one."""
    version = landlock_version()
    if version < 1:
        return
    access = ctypes.c_uint64(ACCESS_OF_VERSION[min(version, max(ACCESS_OF_VERSION))])
    ruleset = _libc.syscall(SYS_CREATE_RULESET, ctypes.byref(access), ctypes.c_size_t(ctypes.sizeof(access)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        beneath = _PathBeneath(access.value, directory)
        if _libc.syscall(SYS_ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(beneath), 0):
            raise OSError(ctypes.get_errno(), "landlock_add_rule")
        if _libc.syscall(SYS_RESTRICT_SELF, ruleset, 0):
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(ruleset)
