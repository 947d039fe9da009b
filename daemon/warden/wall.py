"""The inner wall, put up by the first process of a jail around itself.

The order of its stages is the security argument: join the groups, build the root, take the uid, lose the capabilities,
install the filter. Whoever makes these calls has been forked into new namespaces and is still root of nsjail's user
namespace. The labels are what the log says of one that fails.
"""

import errno
import json
import os
import resource
from collections.abc import Sequence

from . import image, linux
from .calls import UID, Argument, Call, Failed, Words

WORK = "/work"
COPY_BYTES = 1 << 20
RLIMIT_SIGPENDING = 11  # getrlimit(2), x86-64; not in the resource module
BPF_INSTRUCTION_BYTES = 8
CAPABILITY_VERSION_3 = 0x20080522
TABLE_BYTES = 16 << 10


def up(group_fds: Sequence[int], spec: dict[str, int], filter_program: bytes) -> list[Call]:
    """What puts it up, for a step's jail and any uid."""
    return [*_join(group_fds), *_build_root(spec), *_confine(spec, filter_program)]


def _join(group_fds: Sequence[int]) -> list[Call]:
    """Move ourselves by descriptors that root opened, and close them: whoever holds one can move processes."""
    moves = [
        call
        for descriptor in group_fds
        for call in (
            Call("cgroup: write", linux.SYS_WRITE, (descriptor, b"0", 1)),
            Call("cgroup: close", linux.SYS_CLOSE, (descriptor,)),
        )
    ]
    return [*moves, Call("cgroup: unshare", linux.SYS_UNSHARE, (linux.CLONE_NEWCGROUP,))]


def _build_root(spec: dict[str, int]) -> list[Call]:
    def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> Call:
        paths = [text if text is None else os.fsencode(text) for text in (source, target, kind, options)]
        texts = [0 if text is None else text for text in paths]
        return Call(f"root: mount {target}", linux.SYS_MOUNT, (*texts[:3], flags, texts[3]))

    plain = linux.MS_NOSUID | linux.MS_NODEV
    size = f"size={spec['scratch_bytes']},nr_inodes={spec['scratch_inodes']},mode=755"
    made = [Call("root: umask", linux.SYS_UMASK, (0o022,)), mount("tmpfs", image.SCRATCH, "tmpfs", plain, size)]
    for name, mode in (("work", 0o755), ("tmp", 0o1777), ("dev/shm", 0o1777)):
        path = f"{image.SCRATCH}/{name.removeprefix('dev/')}"
        directory = os.fsencode(path)
        made += [
            Call("root: mkdir", linux.SYS_MKDIR, (directory, mode)),
            Call("root: chmod", linux.SYS_CHMOD, (directory, mode)),
            Call("root: chown", linux.SYS_CHOWN, (directory, UID, UID)),
            mount(path, f"{image.IMAGE}/{name}", None, linux.MS_BIND),
        ]
    proc = mount("proc", image.IMAGE + "/proc", "proc", plain | linux.MS_NOEXEC | linux.MS_RDONLY, "subset=pid")
    return [
        *made, proc,
        Call("root: chdir", linux.SYS_CHDIR, (os.fsencode(image.IMAGE),)),
        Call("root: pivot_root", linux.SYS_PIVOT_ROOT, (b".", b".")),
        Call("root: umount2", linux.SYS_UMOUNT2, (b".", linux.MNT_DETACH)),  # the old root, with all that is on it
        Call("root: chdir", linux.SYS_CHDIR, (os.fsencode(WORK),)),
        Call("root: sethostname", linux.SYS_SETHOSTNAME, (b"cellblock", 9)),
    ]  # fmt: skip


def _confine(spec: dict[str, int], filter_program: bytes) -> list[Call]:
    if not filter_program or len(filter_program) % BPF_INSTRUCTION_BYTES:
        raise ValueError(f"a filter of {len(filter_program)} bytes")

    def prctl(label: str, *arguments: Argument) -> Call:
        return Call(f"confine: {label}", linux.SYS_PRCTL, arguments)

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_STACK: spec["stack_bytes"],
        resource.RLIMIT_FSIZE: spec["file_bytes"],
        resource.RLIMIT_NOFILE: spec["files_open"],
        resource.RLIMIT_MEMLOCK: 64 << 10,
        resource.RLIMIT_MSGQUEUE: 0,
        RLIMIT_SIGPENDING: 256,  # charged to the user namespace's owner too (Linux 5.14), so shared by all jails
    }
    no_capabilities = Words((CAPABILITY_VERSION_3, 0)), Words((0, 0, 0))  # nsjail fills the inheritable set
    fprog = Words((len(filter_program) // BPF_INSTRUCTION_BYTES, filter_program))
    return [
        *(
            Call("confine: prlimit64", linux.SYS_PRLIMIT64, (0, kind, Words((value, value)), 0))
            for kind, value in limits.items()
        ),
        Call("confine: setgroups", linux.SYS_SETGROUPS, (0, 0)),
        Call("confine: setresgid", linux.SYS_SETRESGID, (UID, UID, UID)),
        # From uid 0 to another: permitted and effective sets are emptied (capabilities(7)).
        Call("confine: setresuid", linux.SYS_SETRESUID, (UID, UID, UID)),
        Call("confine: capset", linux.SYS_CAPSET, no_capabilities),
        prctl("dumpable", linux.PR_SET_DUMPABLE, 0),  # the program cannot trace or read us
        prctl("no_new_privs", linux.PR_SET_NO_NEW_PRIVS, 1),
        prctl("seccomp", linux.PR_SET_SECCOMP, linux.SECCOMP_MODE_FILTER, fprog),
    ]


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
