"""What the keeper keeps of root: three capabilities, and nobody it starts can have more (capabilities(7))."""

import contextlib
import ctypes
import os

from daemon.sandbox import linux

CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7
KEPT = {
    CAP_KILL: "SIGKILL to a jail's init, which runs at another uid",
    CAP_SETGID: "nsjail writes a gid map of more than its own gid (user_namespaces(7))",
    CAP_SETUID: "nsjail writes a uid map of more than its own uid",
}

_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def keep_only(kept: set[int]) -> None:
    """Drop every capability but `kept` from the bounding, permitted, effective and inheritable sets.

    Raises OSError when the process lacks CAP_SETPCAP or one of `kept`.
    """
    linux.drop_bounding_set(kept)
    _set(kept)


def become(uid: int, gid: int) -> None:
    """Be somebody else for good: no capability in any set, no way to gain one. Raises OSError."""
    if uid == 0:
        raise OSError("uid 0 is not somebody else")
    linux.drop_bounding_set()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set(set())
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _set(kept: set[int]) -> None:
    mask = sum(1 << capability for capability in kept)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if _libc.capset(ctypes.byref(header), ctypes.byref(data)):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies (PR_SET_CHILD_SUBREAPER): not every pid 1 reaps."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans() -> None:
    """Reap every child that has ended, our own included: their waiters learn of it from pidfd or ECHILD."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def effective() -> int:
    """CapEff of this process as a bit mask."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    raise OSError("no CapEff in /proc/self/status")
