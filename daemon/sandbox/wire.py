"""One message on a unix SEQPACKET socket: a JSON object and some descriptors.

The socket keeps message boundaries (unix(7)), so a message is whole or not there. A message that is not a JSON
object with a string "type", or one that was cut, is a `BadMessage`; its descriptors are closed.
"""

import array
import json
import os
import socket
from collections.abc import Callable
from typing import Any

MAX_MESSAGE_BYTES = 64 << 10
MAX_DESCRIPTORS = 8
_SCM_MAX_FD = 253  # unix(7): with room for all, none is ever closed for us where close(2) may wait

Message = dict[str, Any]


class BadMessage(Exception):
    """The peer does not speak our vocabulary."""


def encode(message: Message) -> bytes:
    """Raises ValueError when the message is too long to be sent whole."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"message of {len(data)} bytes, at most {MAX_MESSAGE_BYTES} fit")
    return data


def send(sock: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message. Raises BlockingIOError on a full non-blocking socket, OSError when the peer is gone."""
    data = encode(message)
    if descriptors:
        socket.send_fds(sock, [data], list(descriptors), socket.MSG_NOSIGNAL)
    else:
        sock.send(data, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, close: Callable[[list[int]], None] | None = None) -> tuple[Message, list[int]] | None:
    """The next message, None at the end of the stream. `close` gets the descriptors of a bad message.

    Raises BlockingIOError when nothing is there, OSError when the peer is gone, BadMessage on anything else than a
    whole message. Descriptors arrive close-on-exec.
    """
    data, descriptors, flags = _receive_raw(sock)
    if not data and not descriptors:
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(descriptors) > MAX_DESCRIPTORS:
            raise BadMessage("message cut: too long or too many descriptors")
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadMessage("not JSON") from error
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise BadMessage("not an object with a type")
    except BadMessage:
        (close or close_all)(descriptors)
        raise
    return message, descriptors


def _receive_raw(sock: socket.socket) -> tuple[bytes, list[int], int]:
    space = socket.CMSG_SPACE(_SCM_MAX_FD * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(MAX_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    return data, list(descriptors), flags


def close_all(descriptors: list[int] | tuple[int, ...]) -> None:
    """Close each; none of them may be -1 or closed already."""
    for descriptor in descriptors:
        os.close(descriptor)
