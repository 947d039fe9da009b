"""Sends and receives one message with its descriptors on a unix SEQPACKET socket (unix(7)); never blocks longer than
the socket itself does. What the bytes mean is told by messages.py."""

import array
import socket
from collections.abc import Callable

from .descriptors import close_all
from .messages import MAX_BYTES, BadMessage

MAX_DESCRIPTORS = 8
_SCM_MAX_FD = 253  # unix(7): with room for all, none is ever closed for us where close(2) may wait

Close = Callable[[list[int]], None]


class NoDescriptors(BadMessage):
    """This process has no room for the descriptors of a message. `data` is whole, and they are lost."""

    def __init__(self, data: bytes) -> None:
        super().__init__("no room for its descriptors")
        self.data = data


def send(sock: socket.socket, data: bytes, descriptors: tuple[int, ...] | list[int] = ()) -> None:
    """Send one message. Raises BlockingIOError on a full non-blocking socket, OSError when the peer is gone."""
    if descriptors:
        socket.send_fds(sock, [data], list(descriptors), socket.MSG_NOSIGNAL)
    else:
        sock.send(data, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, close: Close = close_all) -> tuple[bytes, list[int]] | None:
    """The next message and its descriptors, which are the caller's to close; None at the end of the stream.

    `close` gets the descriptors of a message that was cut. Raises BlockingIOError when nothing is there, OSError when
    the peer is gone, BadMessage for a message that was cut, NoDescriptors. Descriptors arrive close-on-exec.
    """
    space = socket.CMSG_SPACE(_SCM_MAX_FD * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(MAX_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
    descriptors = list(received)
    if not data and not descriptors:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(descriptors) > MAX_DESCRIPTORS:
        close(descriptors)
        if data and not flags & socket.MSG_TRUNC and len(descriptors) <= MAX_DESCRIPTORS:
            raise NoDescriptors(data)
        raise BadMessage("message cut: too long or too many descriptors")
    return data, descriptors
