"""Messages on the keeper's socket: whole JSON objects with descriptors, or an error, and never a leaked descriptor."""

import os
import pathlib
import socket

import pytest

from daemon.sandbox import wire
from daemon.sandbox.model import Limits


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.setblocking(False)
    other.setblocking(False)
    return one, other


def open_descriptors() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


def test_a_message_arrives_with_its_descriptors(pair: tuple[socket.socket, socket.socket]) -> None:
    reader, writer = os.pipe()
    wire.send(pair[0], {"type": "go", "run": 1}, (writer,))
    received = wire.receive(pair[1])
    assert received is not None
    message, (copy,) = received
    assert message == {"type": "go", "run": 1}
    os.write(copy, b"x")
    assert os.read(reader, 9) == b"x"
    assert not os.get_inheritable(copy)
    for descriptor in (reader, writer, copy):
        os.close(descriptor)


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"run":1}', b'{"type":1}', b"\xff", b"[" * 60000])
def test_anything_else_is_a_bad_message_and_its_descriptors_are_closed(
    pair: tuple[socket.socket, socket.socket], data: bytes
) -> None:
    before = open_descriptors()
    socket.send_fds(pair[0], [data], [0, 1, 2])
    with pytest.raises(wire.BadMessage):
        wire.receive(pair[1])
    assert open_descriptors() == before


def test_too_many_descriptors_are_a_bad_message_and_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    before = open_descriptors()
    socket.send_fds(pair[0], [b'{"type":"go"}'], [0] * 20)
    with pytest.raises(wire.BadMessage):
        wire.receive(pair[1])
    assert open_descriptors() == before


def test_the_end_of_the_stream_is_none_and_an_empty_socket_blocks(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        wire.receive(pair[1])
    pair[0].close()
    assert wire.receive(pair[1]) is None


def test_a_message_that_is_too_long_is_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="at most 65536"):
        wire.send(pair[0], {"type": "x" * 70000})


MAXIMUM = Limits(memory_bytes=100, wall_ns=100, processes=10, cpu_ns=None, cpu_share_ms=500)


@pytest.mark.parametrize(
    ("change", "beyond"),
    [
        ({}, None), ({"memory_bytes": 101}, "memory_bytes"), ({"memory_bytes": 0}, "memory_bytes"),
        ({"wall_ns": -1}, "wall_ns"), ({"wall_ns": None}, "wall_ns"), ({"processes": True}, "processes"),
        ({"processes": "1"}, "processes"), ({"cpu_ns": 5}, None), ({"cpu_ns": 0}, "cpu_ns"),
        ({"cpu_share_ms": None}, "cpu_share_ms"), ({"cpu_share_ms": 501}, "cpu_share_ms"), ({"memory_bytes": 1.5}, "memory_bytes"),
    ],
    ids=str,
)  # fmt: skip
def test_limits_beyond_their_maximum_are_named(change: dict[str, object], beyond: str | None) -> None:
    fields = {"memory_bytes": 100, "wall_ns": 100, "processes": 10, "cpu_share_ms": 500, **change}
    assert Limits.from_json(fields).within(MAXIMUM) == beyond
