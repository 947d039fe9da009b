"""A mount namespace of the keeper's own, in which nsjail finds work directories that nobody else can take.

nsjail puts the root directory of a warden together on an empty directory, and finds one by name: the first that it can
read of /run/user/UID/nsjail/NAME, with the uid of whoever starts it, then nsjail.UID.NAME below /run/user, /tmp and
/dev/shm. Any local user could put a file or a link of these names into /tmp, and no warden would start any more; and
directories that it made itself stayed there. In the keeper's namespace /run/user is a small directory of its own, with
the first of those names in it. What the host mounts later is seen there too; what is mounted there the host never sees
(mount_namespaces(7), MS_SLAVE).
"""

import ctypes
import os

USERS = "/run/user"
NAMES = ("root", "tmp")  # what nsjail 3.6 asks for

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
MS_REC, MS_SLAVE = 0x4000, 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """Have it from now on, for this process and all that it starts. Raises OSError that names what is missing."""
    os.makedirs(USERS, 0o755, exist_ok=True)
    _checked("unshare", _libc.unshare(CLONE_NEWNS))
    _mount("/", None, MS_REC | MS_SLAVE)
    _mount(USERS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=16k,nr_inodes=16,mode=755")
    path = USERS
    for name in (str(os.getuid()), "nsjail"):
        path = f"{path}/{name}"
        _make(path)
    for name in NAMES:
        _make(f"{path}/{name}")


def _make(directory: str) -> None:
    os.mkdir(directory)
    os.chmod(directory, 0o755)  # whatever the umask is: nsjail reads it with a uid of the warden's


def _mount(target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    given = [None if text is None else text.encode() for text in (kind, target, kind, options)]
    source, where, what, data = given
    _checked(f"mount {target}", _libc.mount(source, where, what, ctypes.c_ulong(flags), data))


def _checked(call: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}; the keeper needs CAP_SYS_ADMIN for its own mounts")
