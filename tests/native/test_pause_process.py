"""The pause process by itself: inits that are made one right after the other do not harm each other."""

import contextlib
import os
import pathlib
import select
import signal
import socket

from daemon.sandbox import messages, wire
from daemon.warden.native import Native

BURSTS, INITS = 20, 30


def test_inits_that_are_made_at_once_all_live(package: pathlib.Path) -> None:
    """They share memory and a stack. One of 500 was ended by the next, and its jail with it."""
    native = Native(str(package / "warden/native/jail.abi3.so"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        native.serve_as_pause_process(theirs.fileno())
        os._exit(1)
    theirs.close()
    dead = 0
    with ours:
        ours.settimeout(10)
        for _ in range(BURSTS):
            dead += burst(ours)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert dead == 0


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
