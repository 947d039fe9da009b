"""A program that is a fork of the warden's own interpreter: one process that builds its jail, parks and goes on.

Its init is one of the nursery's and lies outside of the jail's groups. The channel is this process's until go and
closed before the program's first byte is read; its status is the warden's to tell, whose child it is.
"""

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from . import linux, wall
from .holder import Holder
from .init import GO_BYTES, say
from .wall import Failed


def become(
    channel_fd: int,
    group_fds: list[int],
    init_pidfd: int,
    step: dict[str, Any],
    order: dict[str, Any],
    filter_program: bytes,
    prepare: Callable[[], None],
    holder: Holder,
) -> list[str]:
    """Returns at go, with the program's arguments; never where there is no go."""
    wall.close_all_but({0, 1, 2, channel_fd, init_pidfd, *group_fds})
    channel = socket.socket(fileno=channel_fd)
    try:
        _enter(init_pidfd)
        wall.put_up(group_fds, step["jail"], order["uid"], filter_program)
        inner_ends, outer_ends = wall.make_pipes()
        for number, descriptor in enumerate(inner_ends):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.setsid()
        _hold(holder)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # as after an exec: /proc/self/fd and /dev/stdin are its own
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare()
        say(channel, {"type": "ready"}, outer_ends)
        for descriptor in outer_ends:
            os.close(descriptor)
        return _go(channel, step)
    except Failed as failure:
        say(channel, {"type": "failed", "stage": failure.stage, "reason": str(failure.error)})
    except Exception as error:  # nothing of ours is ever printed where the program's output goes
        say(channel, {"type": "failed", "stage": "interpreter", "reason": repr(error)})
    os._exit(0)


def _enter(init_pidfd: int) -> None:
    """The namespaces of our init; that of processes we were forked into."""
    try:
        linux.setns(init_pidfd, linux.NAMESPACES & ~linux.CLONE_NEWPID)
        os.close(init_pidfd)
    except OSError as error:
        raise Failed("namespaces", error) from error


def _hold(holder: Holder) -> None:
    try:
        holder.hold()
    except OSError as error:
        raise Failed("holder", error) from error


def _go(channel: socket.socket, step: dict[str, Any]) -> list[str]:
    data, descriptors, _, _ = socket.recv_fds(channel, GO_BYTES, 4)
    if not data:
        os._exit(0)  # never wanted
    order = json.loads(data)
    arguments = [str(argument) for argument in json.loads(order["payload"])["args"]]
    try:
        if order["files"]:
            wall.put_files(descriptors.pop())
        wall.put(descriptors[0], step["source_name"], 0o644)
    except OSError as error:
        raise Failed("source", error) from error
    channel.close()
    return arguments
