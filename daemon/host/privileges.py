"""What the keeper keeps of root: three capabilities, and nobody it starts can have more (capabilities(7))."""

import contextlib
import ctypes
import os

CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7
KEPT = {
    CAP_KILL: "SIGKILL to a jail's init, which runs at another uid",
    CAP_SETGID: "nsjail writes a gid map of more than its own gid (user_namespaces(7))",
    CAP_SETUID: "nsjail writes a uid map of more than its own uid",
}

PR_CAPBSET_DROP = 24
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option} {argument}: {os.strerror(number)}")


def keep_only(kept: set[int]) -> None:
    """Drop every capability but `kept` from the bounding, permitted, effective and inheritable sets.

    Raises OSError when the process lacks CAP_SETPCAP or one of `kept`.
    """
    _bound(kept)
    _set(kept)


def become(uid: int, gid: int) -> None:
    """Be somebody else for good: no capability in any set, no way to gain one. Raises OSError."""
    if uid == 0:
        raise OSError("uid 0 is not somebody else")
    _bound(set())
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set(set())
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _bound(kept: set[int]) -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if capability not in kept:
            _prctl(PR_CAPBSET_DROP, capability)


def _set(kept: set[int]) -> None:
    mask = sum(1 << capability for capability in kept)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if _libc.capset(ctypes.byref(header), ctypes.byref(data)):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def die_with_parent(signal_number: int) -> None:
    """Ask for a signal when the parent dies (PR_SET_PDEATHSIG); forgotten at a change of uid."""
    _prctl(PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies (PR_SET_CHILD_SUBREAPER): not every pid 1 reaps."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


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
