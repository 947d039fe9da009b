"""The inner wall, put up by the first process of a jail around itself.

The order of its stages is the security argument: join the groups, build the root, take the uid, lose the capabilities,
install the filter. Whoever calls this has been forked into new namespaces and is still root of nsjail's user namespace.
"""

import errno
import json
import os
import resource
import socket

from . import image, linux

WORK = "/work"
COPY_BYTES = 1 << 20
RLIMIT_SIGPENDING = 11  # getrlimit(2), x86-64; not in the resource module


class Failed(Exception):
    """A stage of a jail's making, and the error."""

    def __init__(self, stage: str, error: OSError) -> None:
        self.stage, self.error = stage, error


def put_up(group_fds: list[int], spec: dict[str, int], uid: int, filter_program: bytes) -> None:
    """Raises Failed."""
    _join(group_fds)
    _build_root(spec, uid)
    _confine(spec, uid, filter_program)


def make_pipes() -> tuple[list[int], list[int]]:
    """The program's ends of stdin, stdout and stderr, and the other ends.

    Made behind the wall, so that the pipes are on the jail's account. Raises Failed.
    """
    try:
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
    except OSError as error:
        raise Failed("pipes", error) from error
    return [stdin[0], stdout[1], stderr[1]], [stdin[1], stdout[0], stderr[0]]


def put(descriptor: int, name: str, mode: int) -> None:
    """Copy what a descriptor holds, from its start, to /work/name at the jail's uid. Raises OSError."""
    target = os.open(f"{WORK}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    offset = 0
    while copied := os.sendfile(target, descriptor, offset, COPY_BYTES):
        offset += copied
    os.close(target)
    os.close(descriptor)


def put_files(descriptor: int) -> None:
    """Unpack what judge/files.py packed, below /work. Raises OSError."""
    with os.fdopen(descriptor, "rb") as packed:
        packed.seek(0)
        for name, size in json.loads(packed.read(int.from_bytes(packed.read(4), "big"))):
            path = f"{WORK}/{name}"
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as target:
                while size > 0:
                    chunk = packed.read(min(size, COPY_BYTES))
                    if not chunk:
                        raise OSError(errno.EINVAL, f"{name} is cut")
                    target.write(chunk)
                    size -= len(chunk)


def close_all_but(kept: set[int]) -> None:
    low = 0
    for descriptor in sorted(kept):
        if low < descriptor:  # an empty range would close everything (CPython passes high - 1 to close_range(2))
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 20)


def _join(group_fds: list[int]) -> None:
    """Move ourselves by descriptors that root opened, and close them: whoever holds one can move processes."""
    try:
        for descriptor in group_fds:
            os.write(descriptor, b"0")
            os.close(descriptor)
        linux.unshare(linux.CLONE_NEWCGROUP)
    except OSError as error:
        raise Failed("cgroup", error) from error


def _build_root(spec: dict[str, int], uid: int) -> None:
    scratch = f"size={spec['scratch_bytes']},nr_inodes={spec['scratch_inodes']},uid={uid},gid={uid},mode=755"
    plain = linux.MS_NOSUID | linux.MS_NODEV
    try:
        os.umask(0o022)
        linux.mount("tmpfs", image.SCRATCH, "tmpfs", plain, scratch)
        for name, mode in (("work", 0o755), ("tmp", 0o1777), ("dev/shm", 0o1777)):
            directory = f"{image.SCRATCH}/{name.removeprefix('dev/')}"
            os.mkdir(directory)
            os.chmod(directory, mode)
            os.chown(directory, uid, uid)
            linux.mount(directory, f"{image.IMAGE}/{name}", None, linux.MS_BIND)
        linux.mount("proc", image.IMAGE + "/proc", "proc", plain | linux.MS_NOEXEC | linux.MS_RDONLY, "subset=pid")
        linux.pivot_into(image.IMAGE)
        os.chdir(WORK)
        socket.sethostname("cellblock")
    except OSError as error:
        raise Failed("root", error) from error


def _confine(spec: dict[str, int], uid: int, filter_program: bytes) -> None:
    try:
        for kind, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_STACK, spec["stack_bytes"]),
            (resource.RLIMIT_FSIZE, spec["file_bytes"]),
            (resource.RLIMIT_NOFILE, spec["files_open"]),
            (resource.RLIMIT_MEMLOCK, 64 << 10),
            (resource.RLIMIT_MSGQUEUE, 0),
            (RLIMIT_SIGPENDING, 256),  # charged to the user namespace's owner too (Linux 5.14), so shared by all jails
        ):
            resource.setrlimit(kind, (value, value))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)  # from uid 0 to another: permitted and effective sets are emptied
        linux.drop_capabilities()
        linux.prctl(linux.PR_SET_DUMPABLE, 0)  # the program cannot trace or read us
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.install_filter(filter_program)
    except (OSError, ValueError) as error:
        raise Failed("confine", error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))) from error
