"""A mount namespace of the keeper's own, in which nsjail finds work directories that nobody else can take.

nsjail puts the root directory of a warden together on an empty directory, and finds one by name: the first that it can
read of /run/user/UID/nsjail/NAME, with the uid of whoever starts it, then nsjail.UID.NAME below /run/user, /tmp and
/dev/shm. Any local user could put a file or a link of these names into /tmp, and no warden would start any more; and
directories that it made itself stayed there. In the keeper's namespace /run/user is a small directory of its own, with
the first of those names in it. What the host mounts later is seen there too; what is mounted there the host never sees
(mount_namespaces(7), MS_SLAVE).
"""

import os

from daemon.sandbox import linux

USERS = "/run/user"
NAMES = ("root", "tmp")  # what nsjail 3.6 asks for


def enter() -> None:
    """Have it from now on, for this process and all that it starts. Raises OSError that names what is missing."""
    os.makedirs(USERS, 0o755, exist_ok=True)
    try:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
        plain = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("tmpfs", USERS, "tmpfs", plain, "size=16k,nr_inodes=16,mode=755")
    except OSError as error:
        text = f"{error.strerror}; the keeper needs CAP_SYS_ADMIN for its own mounts"
        raise OSError(error.errno, text) from error
    path = USERS
    for name in (str(os.getuid()), "nsjail"):
        path = f"{path}/{name}"
        _make(path)
    for name in NAMES:
        _make(f"{path}/{name}")


def _make(directory: str) -> None:
    os.mkdir(directory)
    os.chmod(directory, 0o755)  # whatever the umask is: nsjail reads it with a uid of the warden's
