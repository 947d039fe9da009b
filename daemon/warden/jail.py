"""One jail from the inside: init builds the inner wall, parks, puts the source in place, waits and reports.

`become_init` runs as pid 1 of the jail's pid namespace, still root of nsjail's user namespace; the order of its stages
is the security argument: join the groups, build the root, take the uid, lose the capabilities, install the filter.
Only then does it fork the program.
"""

import errno
import json
import os
import resource
import signal
import socket
from typing import Any, NoReturn

from . import image, linux

WORK = "/work"
GO_BYTES = 64 << 10
COPY_BYTES = 1 << 20
RLIMIT_SIGPENDING = 11  # getrlimit(2), x86-64; not in the resource module
CANNOT_EXECUTE = 126  # as a shell tells it (POSIX, 2.8.2)


class _Failed(Exception):
    def __init__(self, stage: str, error: OSError) -> None:
        self.stage, self.error = stage, error


def become_init(channel_fd: int, group_fds: list[int], step: dict[str, Any], uid: int, program: bytes) -> NoReturn:
    """Never returns. Speaks only on the channel: ready or failed, then (after go) status or failed."""
    _close_all_but({0, 1, 2, channel_fd, *group_fds})
    channel = socket.socket(fileno=channel_fd)
    try:
        _join(group_fds)
        _build_root(step["jail"], uid)
        _confine(step["jail"], uid, program)
        pid, gate, outer_ends = _fork_program(step, channel)
        _let_go_of_the_log()
        _say(channel, {"type": "ready"}, outer_ends)
        for descriptor in outer_ends:
            os.close(descriptor)
        _run(channel, gate, pid, step)
    except _Failed as failure:
        _say(channel, {
            "type": "failed", "stage": failure.stage, "errno": failure.error.errno, "reason": str(failure.error),
        })  # fmt: skip
    os._exit(0)


def _close_all_but(kept: set[int]) -> None:
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
        raise _Failed("cgroup", error) from error


def _build_root(spec: dict[str, int], uid: int) -> None:
    scratch = f"size={spec['scratch_bytes']},nr_inodes={spec['scratch_inodes']},uid={uid},gid={uid}"
    plain = linux.MS_NOSUID | linux.MS_NODEV
    try:
        os.umask(0o022)
        linux.mount("tmpfs", image.IMAGE + WORK, "tmpfs", plain, scratch + ",mode=755")
        linux.mount("tmpfs", image.IMAGE + "/tmp", "tmpfs", plain, scratch + ",mode=1777")
        linux.mount("tmpfs", image.IMAGE + "/dev/shm", "tmpfs", plain, scratch + ",mode=1777")
        linux.mount("proc", image.IMAGE + "/proc", "proc", plain | linux.MS_NOEXEC | linux.MS_RDONLY, "subset=pid")
        linux.drop_bounding_set()  # reads /proc/sys, which the jail's own /proc lacks
        linux.pivot_into(image.IMAGE)
        os.chdir(WORK)
        socket.sethostname("cellblock")
    except OSError as error:
        raise _Failed("root", error) from error


def _confine(spec: dict[str, int], uid: int, program: bytes) -> None:
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
        linux.install_filter(program)
    except (OSError, ValueError) as error:
        raise _Failed("confine", error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))) from error


def _fork_program(step: dict[str, Any], channel: socket.socket) -> tuple[int, socket.socket, list[int]]:
    """Fork pid 2, which blocks on its gate. The pipes are made at the jail's uid, so they are on its account."""
    try:
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        gate, program_gate = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
    except OSError as error:
        raise _Failed("fork", error) from error
    if pid == 0:
        try:
            channel.close()
            gate.close()
            _become_program(program_gate, (stdin[0], stdout[1], stderr[1]), step)
        finally:
            os._exit(99)
    program_gate.close()
    for descriptor in (stdin[0], stdout[1], stderr[1]):
        os.close(descriptor)
    return pid, gate, [stdin[1], stdout[0], stderr[0]]


def _let_go_of_the_log() -> None:
    """Until now our standard descriptors were the keeper's; nothing of the host stays open beside a program."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _become_program(gate: socket.socket, inner_ends: tuple[int, int, int], step: dict[str, Any]) -> NoReturn:
    for number, descriptor in enumerate(inner_ends):
        os.dup2(descriptor, number)
    _close_all_but({0, 1, 2, gate.fileno()})
    os.setsid()
    data = gate.recv(GO_BYTES)
    if not data:
        os._exit(0)
    for number in range(1, signal.NSIG):  # Python ignores SIGPIPE and SIGXFSZ; a program starts with the defaults
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    argv: list[str] = json.loads(data)
    try:
        os.execve(argv[0], argv, step["environment"])
    except OSError as error:
        reason = f"{argv[0]}: {error.strerror}"
        if argv[0].startswith(WORK + "/"):  # what the submission's own build left is no program: its own failure
            os.write(2, f"{reason}\n".encode())
            os._exit(CANNOT_EXECUTE)
        gate.send(json.dumps([error.errno, reason]).encode())
    os._exit(127)


def _run(channel: socket.socket, gate: socket.socket, pid: int, step: dict[str, Any]) -> None:
    data, descriptors, _, _ = socket.recv_fds(channel, GO_BYTES, 4)
    if not data:
        return  # never wanted
    order = json.loads(data)
    try:
        if step["source_name"] is not None:
            _put(descriptors.pop(0), step["source_name"], 0o644)
        if step["takes_artifact"] is not None:
            _put(descriptors.pop(0), step["takes_artifact"], 0o755)
        gate.send(json.dumps(_argv(step, order)).encode())
    except OSError as error:
        raise _Failed("source", error) from error
    status = _wait(pid)
    gate.setblocking(False)
    try:
        unstarted = gate.recv(GO_BYTES)
    except BlockingIOError:
        unstarted = b""
    if unstarted:
        number, reason = json.loads(unstarted)
        raise _Failed("exec", OSError(number, reason))
    artifact = _open_artifact(step["leaves_artifact"]) if status == 0 else None
    _say(channel, {"type": "status", "status": status}, [] if artifact is None else [artifact])


def _argv(step: dict[str, Any], order: dict[str, Any]) -> list[str]:
    argv = [argument.format_map(order["placeholders"]) for argument in step["argv"]]
    args = json.loads(order["payload"])["args"] if step["takes_args"] else []
    return argv + [str(argument) for argument in args]


def _put(descriptor: int, name: str, mode: int) -> None:
    """Copy what a descriptor holds, from its start, to /work/name at the jail's uid."""
    target = os.open(f"{WORK}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    offset = 0
    while chunk := os.pread(descriptor, COPY_BYTES, offset):
        offset += os.write(target, chunk)
    os.close(target)
    os.close(descriptor)


def _wait(pid: int) -> int:
    """The raw wait status of the program; orphans that end before it are reaped on the way."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return status


def _open_artifact(name: str | None) -> int | None:
    """Open the declared file without following a link or waiting for a FIFO; whoever gets it fstats it."""
    if name is None:
        return None
    try:
        return os.open(f"{WORK}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # the step left none: the status goes without it, and the keeper says so


def _say(channel: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    try:
        socket.send_fds(channel, [json.dumps(message).encode()], descriptors or [])
    except OSError:
        os._exit(98)  # the keeper let go of us
