"""The maker by itself: inits that are made one right after the other do not harm each other; bad requests end nothing."""

import contextlib
import errno
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from daemon.sandbox import messages, wire
from daemon.sandbox.plan import Warm
from daemon.warden import description

from . import player

MAKER = "/cellblock/daemon/warden/native/jail.abi3.so"
BURSTS, INITS = 20, 30
DESCRIPTION = description.encode(player.step("exec", ("/usr/bin/true",), Warm.EXEC), Warm.EXEC, (), bytes(8))


@pytest.fixture
def maker(package: pathlib.Path) -> Iterator[socket.socket]:
    """The socket of one, behind an outer wall; its image is empty."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [*player.outer_wall(player.plan(), package, 3), "--tmpfsmount", "/image/proc", "--", MAKER],
                env={},
                pass_fds=[3],
                preexec_fn=lambda: os.dup2(theirs.fileno(), 3),
            )
        assert next_answer(ours) == messages.Answered(0, 0)
        yield ours
    assert process.wait(10) == 0


def test_inits_that_are_made_at_once_all_live(maker: socket.socket) -> None:
    """They share memory and a stack. One of 500 was ended by the next, and its jail with it."""
    assert sum(burst(maker) for _ in range(BURSTS)) == 0


@pytest.mark.parametrize(
    ("request_", "descriptors", "error"),
    [
        (struct.pack("<IIII", 7, messages.REQUEST_INIT, 0, 0) + b"more", 0, errno.EPROTO),
        (struct.pack("<IIII", 7, messages.REQUEST_INIT, 0, 0), 1, errno.EPROTO),
        (struct.pack("<IIII", 7, messages.REQUEST_FORK, 1, 0), 1, errno.EPROTO),
        (messages.MakeInit(7, messages.NETWORKS_MAX + 1).encode(), 0, errno.EPROTO),
        (messages.MakeCommand(7, 1, 0, b"no description").encode(), 1, errno.EINVAL),
        (messages.MakeCommand(7, 1, 0, b"").encode(), 1, errno.EINVAL),
        (messages.MakeCommand(7, 0, 0, DESCRIPTION).encode(), 1, errno.EINVAL),
        (messages.MakeCommand(7, 1, 0, DESCRIPTION).encode(), 0, errno.EINVAL),
        (messages.MakeCommand(7, 1, 0, DESCRIPTION).encode(), 7, errno.EINVAL),
    ],
    ids=[
        "bytes after an init",
        "descriptors with an init",
        "a fork",
        "no such network",
        "not a description",
        "none",
        "root",
        "no channel",
        "too many groups",
    ],
)
def test_request_that_is_not_one_is_refused_and_the_next_is_served(
    maker: socket.socket, request_: bytes, descriptors: int, error: int
) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    wire.send(maker, request_, [null] * descriptors)
    os.close(null)
    assert next_answer(maker) == messages.Answered(7, -error)
    assert burst(maker) == 0


def next_answer(sock: socket.socket) -> messages.Answered:
    """One that brings no descriptor."""
    data, descriptors = wire.receive(sock) or (b"", [])
    assert descriptors == []
    return messages.decode_answer(data, 0)


def burst(sock: socket.socket) -> int:
    """Ask for all before any answer is read; how many of the inits are dead when the last has been made."""
    for request in range(INITS):
        sock.send(messages.MakeInit(request).encode())
    pidfds = []
    for request in range(INITS):
        data, descriptors = wire.receive(sock) or (b"", [])
        assert messages.decode_answer(data, len(descriptors)).number == request
        pidfds += descriptors
    assert len(pidfds) == INITS
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    dead = len(poll.poll(20))
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
    return dead
