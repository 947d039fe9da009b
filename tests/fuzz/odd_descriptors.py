"""Descriptors that a peer may send with a message, by name: those that a run takes, and those that it does not."""

import os
import pathlib
import socket
from collections.abc import Callable

from daemon.sandbox import descriptors as fds

SPARSE_BYTES = 1 << 42


def sealed(content: bytes) -> int:
    """As an artefact and an input have to be."""
    whole = fds.memfd("sealed", content, sealed=True)
    try:
        return fds.reopened(whole)
    finally:
        os.close(whole)


def _pipe(end: int) -> int:
    both = os.pipe()
    os.close(both[1 - end])
    return both[end]


def _sparse() -> int:
    descriptor = fds.memfd("sparse", b"")
    os.ftruncate(descriptor, SPARSE_BYTES)
    return descriptor


def _own_pipe() -> int:
    """Nobody writes to it, and its end never comes: it is open for writing too."""
    one, other = os.pipe()
    both = os.open(f"/proc/self/fd/{one}", os.O_RDWR)
    fds.close_all((one, other))
    return both


KINDS: dict[str, Callable[[], int]] = {
    "source": lambda: fds.memfd("source", b"print(1)"),
    "sealed": lambda: sealed(b"1 2\n"),
    "binary": lambda: sealed(pathlib.Path("/bin/true").read_bytes()),
    "empty": lambda: fds.memfd("empty", b""),
    "sparse": _sparse,
    "read end": lambda: _pipe(0),
    "write end": lambda: _pipe(1),
    "both ends": _own_pipe,
    "socket": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0].detach(),
    "folder": lambda: os.open("/", os.O_RDONLY),
    "path": lambda: os.open("/", os.O_PATH),
    "zeros": lambda: os.open("/dev/zero", os.O_RDWR),
    "event": lambda: os.eventfd(0),
}
