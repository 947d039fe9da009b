"""Init of a jail whose program is a command: pid 1 that puts the source in place, waits and reports.

It speaks on the jail's channel, alone: ready or failed, then (after go) status or failed.
"""

import errno
import json
import os
import socket
from typing import Any, NoReturn

from . import program, wall
from .wall import WORK, Failed

GO_BYTES = 64 << 10


def become(
    channel_fd: int, group_fds: list[int], step: dict[str, Any], order: dict[str, Any], filter_program: bytes
) -> NoReturn:
    """Build the jail, park, run one program, end. Runs as pid 1 of the jail's pid namespace."""
    wall.close_all_but({0, 1, 2, channel_fd, *group_fds})
    channel = socket.socket(fileno=channel_fd)
    try:
        wall.put_up(group_fds, step["jail"], order["uid"], filter_program)
        inner_ends, outer_ends = wall.make_pipes()
        gate, program_gate = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = _fork()
        if pid == 0:
            program.become(program_gate.fileno(), inner_ends, step, order)
        program_gate.close()
        for descriptor in inner_ends:
            os.close(descriptor)
        _await_start(order["warm"], gate, pid)
        _let_go_of_the_log()
        say(channel, {"type": "ready"}, outer_ends)
        for descriptor in outer_ends:
            os.close(descriptor)
        _run(channel, gate, pid, step, order["warm"])
    except Failed as failure:
        say(channel, {
            "type": "failed", "stage": failure.stage, "errno": failure.error.errno, "reason": str(failure.error),
        })  # fmt: skip
    os._exit(0)


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise Failed("fork", error) from error


def _await_start(warm: str, gate: socket.socket, pid: int) -> None:
    """Until a command that starts before go has come as far as it can."""
    if warm == "exec":
        return
    told = gate.recv(program.MESSAGE_BYTES)
    if told.startswith(b"["):
        raise Failed("exec", OSError(*json.loads(told)))
    if told != (b"" if warm == "stdin" else program.READY):
        reason = told.decode(errors="replace") or f"wait status {os.waitpid(pid, 0)[1]}"
        raise Failed("park", OSError(errno.ECHILD, f"the program ended before go: {reason}"))


def _let_go_of_the_log() -> None:
    """Until now our standard descriptors were the keeper's; nothing of the host stays open beside a program."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _run(channel: socket.socket, gate: socket.socket, pid: int, step: dict[str, Any], warm: str) -> None:
    data, descriptors, _, _ = socket.recv_fds(channel, GO_BYTES, 4)
    if not data:
        return  # never wanted
    order = json.loads(data)
    try:
        if order["files"]:
            wall.put_files(descriptors.pop())
        if step["source_name"] is not None:
            wall.put(descriptors.pop(0), step["source_name"], 0o644)
        if step["takes_artifact"] is not None:
            wall.put(descriptors.pop(0), step["takes_artifact"], 0o755)
        if warm != "stdin":
            args = [str(argument) for argument in json.loads(order["payload"])["args"]] if step["takes_args"] else []
            argv = program.fill(step["argv"], order["placeholders"]) if warm == "exec" else []
            gate.send(json.dumps(argv + args).encode())
    except BrokenPipeError:
        pass  # it ended while it was parked: its status tells
    except OSError as error:
        raise Failed("source", error) from error
    status = _wait(pid)
    if warm == "exec":
        _demand_start(gate)
    artifact = _open_artifact(step["leaves_artifact"]) if status == 0 else None
    say(channel, {"type": "status", "status": status}, [] if artifact is None else [artifact])


def _demand_start(gate: socket.socket) -> None:
    gate.setblocking(False)
    try:
        unstarted = gate.recv(GO_BYTES)
    except BlockingIOError:
        return
    if unstarted:
        raise Failed("exec", OSError(*json.loads(unstarted)))


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


def say(channel: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    try:
        socket.send_fds(channel, [json.dumps(message).encode()], descriptors or [])
    except OSError:
        os._exit(98)  # the keeper let go of us
