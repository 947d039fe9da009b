"""Init of a jail whose program is a command: pid 1 that puts the source in place, waits and reports.

It speaks on the jail's channel, alone: ready or failed, then (after go) status or failed.
"""

import contextlib
import errno
import json
import os
import select
import signal
import socket
import struct
from typing import Any, NamedTuple, NoReturn

from . import program, wall
from .calls import Failed, Runner
from .wall import WORK

GO_BYTES = 64 << 10
GO = struct.Struct("<III")
REPLY = struct.Struct("<II")
CANNOT_EXECUTE = 126  # as a shell tells it (POSIX, 2.8.2)


class _Started(NamedTuple):
    """A command that started before go."""

    pid: int
    gate: socket.socket | None  # of one that is warm by preload
    end: int


def become(
    channel_fd: int, group_fds: list[int], step: dict[str, Any], order: dict[str, Any], runner: Runner
) -> NoReturn:
    """Build the jail, park, run one program, end. Runs as pid 1 of the jail's pid namespace.

    The wall's table lies ready in the runner.
    """
    wall.close_all_but({0, 1, 2, channel_fd, *group_fds})
    channel = socket.socket(fileno=channel_fd)
    try:
        runner.check(runner.run(runner.address))
        inner_ends, outer_ends = wall.make_pipes()
        started = None if order["warm"] == "exec" else _start(inner_ends, step, order)
        _let_go_of_the_log()
        say(channel, {"type": "ready"}, outer_ends)
        _close(outer_ends)
        _run(channel, inner_ends, started, step)
    except Failed as failure:
        say(channel, {
            "type": "failed", "stage": failure.stage, "errno": failure.error.errno, "reason": str(failure.error),
        })  # fmt: skip
    os._exit(0)


def _start(inner_ends: list[int], step: dict[str, Any], order: dict[str, Any]) -> _Started:
    """Start a command and wait until it has come as far as it can before go. Takes its ends of the pipes."""
    argv = program.fill(step["argv"], order["placeholders"])
    environment = {**step["environment"], **step["start_environment"]}
    if order["warm"] == "stdin":
        pid = _spawn(inner_ends, argv, environment)
        _close(inner_ends)
        return _Started(pid, None, -1)
    gate, program_gate = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end, program_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    environment |= {"CELLBLOCK_GATE": str(program.GATE), "CELLBLOCK_END": str(program.END)}
    pid = _spawn([*inner_ends, program_gate.fileno(), program_end], argv, environment)
    program_gate.close()
    _close([*inner_ends, program_end])
    told = gate.recv(len(program.READY))
    if told != program.READY:
        reason = told.decode(errors="replace") or f"wait status {os.waitpid(pid, 0)[1]}"
        raise Failed("park", OSError(errno.ECHILD, f"the program ended before go: {reason}"))
    return _Started(pid, gate, end)


def _spawn(descriptors: list[int], argv: list[str], environment: dict[str, str]) -> int:
    try:
        return program.spawn(descriptors, argv, environment)
    except OSError as error:
        raise Failed("exec", error) from error


def _let_go_of_the_log() -> None:
    """Until now our standard descriptors were the keeper's; nothing of the host stays open beside a program."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _run(channel: socket.socket, inner_ends: list[int], started: _Started | None, step: dict[str, Any]) -> None:
    data, descriptors, _, _ = socket.recv_fds(channel, GO_BYTES, 4)
    if not data:
        return  # never wanted
    flags, _count, _size = GO.unpack_from(data)
    args = data[GO.size :].decode().split("\0")[:-1]
    order = {"files": bool(flags & 4)}
    _put(descriptors, step, order)
    status: int | None
    if started is None:
        status = _run_command(inner_ends, args, step["environment"])
    elif started.gate is None:
        status = _wait(started.pid)
    else:
        with contextlib.suppress(BrokenPipeError):  # it ended while it was parked, as its status tells
            started.gate.send(json.dumps(args).encode())
        started.gate.close()
        status = _wait_for_end(started)
    artifact = _open_artifact(step["leaves_artifact"]) if not status else None
    ended = {"type": "status", "status": status or 0, "waits": status is None}
    say(channel, ended, [] if artifact is None else [artifact])


def _put(descriptors: list[int], step: dict[str, Any], order: dict[str, Any]) -> None:
    """Put in place what came with go."""
    try:
        if order["files"]:
            wall.put_files(descriptors.pop())
        if step["source_name"] is not None:
            wall.put(descriptors.pop(0), step["source_name"], 0o644)
        if step["takes_artifact"] is not None:
            wall.put(descriptors.pop(0), step["takes_artifact"], 0o755)
    except OSError as error:
        raise Failed("source", error) from error


def _run_command(inner_ends: list[int], argv: list[str], environment: dict[str, str]) -> int:
    """Its wait status."""
    try:
        pid = _spawn(inner_ends, argv, environment)
    except Failed as failure:
        if not argv[0].startswith(WORK + "/"):
            raise
        os.write(
            inner_ends[2], f"{failure.error.strerror}\n".encode()
        )  # what a submission's own build left is no program
        return CANNOT_EXECUTE << 8
    _close(inner_ends)
    return _wait(pid)


def _wait(pid: int) -> int:
    """The raw wait status of the program; orphans that end before it are reaped on the way."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return status


def _wait_for_end(started: _Started) -> int | None:
    """As `_wait`; None for a program that says that it has ended with 0 and waits to be killed.

    Whoever says so without having ended is killed as well, as if it had called exit.
    """
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    poll = select.poll()
    for descriptor in (woken, started.end):
        poll.register(descriptor, select.POLLIN)
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == started.pid:
            return status
        if pid:
            continue
        for descriptor, _ in poll.poll():
            if descriptor == woken:
                os.read(woken, 4096)
            elif os.read(started.end, len(program.ENDED)) == program.ENDED:
                return None
            else:
                poll.unregister(started.end)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _open_artifact(name: str | None) -> int | None:
    """Open the declared file without following a link or waiting for a FIFO; whoever gets it fstats it."""
    if name is None:
        return None
    try:
        return os.open(f"{WORK}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # the step left none: the status goes without it, and the keeper says so


def say(channel: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    try:
        match message["type"]:
            case "ready":
                data = REPLY.pack(1, 0)
            case "status":
                data = REPLY.pack(3 if message["waits"] else 2, message["status"])
            case _:
                data = (
                    REPLY.pack(4, 0)
                    + f"{message['stage']}\0{message['reason']}".encode("ascii", "backslashreplace")[:240]
                )
        socket.send_fds(channel, [data], descriptors or [])
    except OSError:
        os._exit(98)  # the keeper let go of us
