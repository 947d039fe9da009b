"""The image: the root directory that every jail of this warden begins in. Built once, then read-only.

The maker leaves the warden's own root directory for it before the first jail (enter_image() of native/jail.c).
"""

import os
from collections.abc import Iterable, Mapping

from daemon.sandbox import linux
from daemon.sandbox.plan import Mount

from .native import INPUT_LIBRARY

IMAGE = "/image"  # an empty tmpfs that nsjail mounted (jail_configs/warden.cfg)
DEVICES = ("null", "zero", "full", "random", "urandom")  # what libc and the runtimes open; none of them keeps state
DEVICE_LINKS = {
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "fd": "/proc/self/fd",
}
OWN_MOUNTS = ("work", "tmp", "dev/shm", "proc", "cellblock/user")  # made anew in each jail
USER_LINKS = {"passwd": "/cellblock/user/passwd", "group": "/cellblock/user/group"}  # name_user() of native/jail.c
HOST_ROOT = "/host"  # where nsjail's flags put the host's directories, in the order of the plan


def build(mounts: Iterable[Mount], links: Mapping[str, str], takes_input: bool) -> None:
    """Compose the image; with the library by which a started runtime takes its input, where one does.

    Raises OSError with the path that failed.
    """
    linux.mount(None, "/", None, linux.MS_PRIVATE | linux.MS_REC)
    for number, mount in enumerate(mounts):
        source, target = f"{HOST_ROOT}/{number}", IMAGE + mount.target
        _make_target(source, target)
        _bind_read_only(source, target, linux.MS_NODEV)
    for path, text in links.items():
        os.makedirs(os.path.dirname(IMAGE + path), exist_ok=True)
        os.symlink(text, IMAGE + path)
    for name in OWN_MOUNTS:
        os.makedirs(f"{IMAGE}/{name}", exist_ok=True)
    os.makedirs(f"{IMAGE}/etc", exist_ok=True)
    for name, text in USER_LINKS.items():
        if not os.path.lexists(f"{IMAGE}/etc/{name}"):  # else the toolchain brings its own
            os.symlink(text, f"{IMAGE}/etc/{name}")
    if takes_input:
        with open(INPUT_LIBRARY, "rb") as library, open(f"{IMAGE}/cellblock/input.so", "wb") as copy:
            copy.write(library.read())
    for name in DEVICES:
        _make_target(f"/dev/{name}", f"{IMAGE}/dev/{name}")
        _bind_read_only(f"/dev/{name}", f"{IMAGE}/dev/{name}", 0)
    for name, text in DEVICE_LINKS.items():
        os.symlink(text, f"{IMAGE}/dev/{name}")
    _remount_read_only(IMAGE, linux.MS_NODEV)
    _demand_read_only()


def _make_target(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _bind_read_only(source: str, target: str, flags: int) -> None:
    linux.mount(source, target, None, linux.MS_BIND)  # without MS_REC: what is mounted below the source stays out
    _remount_read_only(target, flags)


def _remount_read_only(target: str, flags: int) -> None:
    linux.mount(None, target, None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | flags)


def _demand_read_only() -> None:
    """Believe the kernel, not ourselves: every mount below the image says ro and nosuid in mountinfo (proc(5))."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            path, options = fields[4], fields[5].split(",")
            if (path == IMAGE or path.startswith(IMAGE + "/")) and not {"ro", "nosuid"} <= set(options):
                raise OSError(1, f"{path} is mounted {fields[5]}, not ro,nosuid")
