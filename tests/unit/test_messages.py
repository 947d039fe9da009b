"""Messages between our processes: what is sent arrives, anything else is a BadMessage, and no descriptor leaks."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import resource
import socket
import struct

import pytest

from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages, wire
from daemon.sandbox.messages import BadMessage
from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.outbox import Outbox
from daemon.sandbox.plan import Warm

LIMITS = Limits(memory_bytes=128 << 20, wall_ns=10**10, processes=64, cpu_ns=None, cpu_share_ms=500)
EXAMPLES: list[tuple[messages.Message, dict[str, type[messages.Message]], int]] = [
    (messages.Run(1, "python", "run", LIMITS, ("a", "\u00e4", ""), True), messages.TO_KEEPER, 2),
    (messages.Begin(3), messages.TO_KEEPER, 0),
    (messages.Kill(3, KilledBy.OUTPUT), messages.TO_KEEPER, 0),
    (messages.Signal(3, 15), messages.TO_KEEPER, 0),
    (messages.Hello("v2", (0, 1, 5), True), messages.TO_HTTP, 0),
    (
        messages.Stats(
            3,
            {"python": "ready"},
            {"python/run": {"parked": 1, "wanted": 6}},
            5,
            {"keeper": 7},
            {"python": {"started": 1, "lost": 0}},
            {"jail": 0},
        ),
        messages.TO_HTTP,
        0,
    ),
    (messages.Started(9), messages.TO_HTTP, 3),
    (messages.Refused(9, "acquire", "no warden"), messages.TO_HTTP, 0),
    (messages.Ended(9, 256, None, 1, 2, None), messages.TO_HTTP, 1),
    (messages.Ended(9, None, KilledBy.WALL, 1, None, 3), messages.TO_HTTP, 0),
    (messages.Setup(), messages.TO_WARDEN, 2),
    (messages.Make(4, "run", Warm.PRELOAD, 1000, 3, ("/usr/bin/node", "main.js")), messages.TO_WARDEN, 5),
    (messages.Ready(), messages.FROM_WARDEN, 0),
    (messages.Broken("rootfs", "no space"), messages.FROM_WARDEN, 0),
    (messages.Made(4), messages.FROM_WARDEN, 2),
    (messages.NotMade(4, "EAGAIN"), messages.FROM_WARDEN, 0),
    (messages.ForkEnded(4, 9), messages.FROM_WARDEN, 0),
]


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.setblocking(False)
    other.setblocking(False)
    return one, other


def open_descriptors() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(("message", "vocabulary", "descriptors"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_what_is_sent_arrives(
    message: messages.Message, vocabulary: dict[str, type[messages.Message]], descriptors: int
) -> None:
    assert messages.decode(message.encode(), descriptors, vocabulary) == message


@pytest.mark.parametrize(("message", "vocabulary", "descriptors"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_a_field_too_many_too_few_or_of_another_type_is_a_bad_message(
    message: messages.Message, vocabulary: dict[str, type[messages.Message]], descriptors: int
) -> None:
    fields = json.loads(message.encode())
    for changed in ({**fields, "extra": 1}, *({k: v for k, v in fields.items() if k != gone} for gone in fields)):
        with pytest.raises(BadMessage):
            messages.decode(json.dumps(changed).encode(), descriptors, vocabulary)
    for name in fields:
        for odd in (
            -1,
            1.5,
            [{}],
            "\ud800",
            10**30,
            True if name not in ("files", "input", "graded", "held", "pins") else 0,
        ):
            with pytest.raises(BadMessage) as told:
                messages.decode(json.dumps({**fields, name: odd}).encode(), descriptors, vocabulary)
            assert str(told.value).isascii()


@pytest.mark.parametrize(("message", "vocabulary", "descriptors"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_another_number_of_descriptors_is_a_bad_message(
    message: messages.Message, vocabulary: dict[str, type[messages.Message]], descriptors: int
) -> None:
    allowed = type(message).DESCRIPTORS
    assert descriptors in allowed
    for count in set(range(9)) - set(allowed):
        with pytest.raises(BadMessage):
            messages.decode(message.encode(), count, vocabulary)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b'{"run":1}', b'{"type":1}', b'{"type":"exec"}', b"\xff", b"[" * 60000]
)
def test_anything_else_is_a_bad_message(data: bytes) -> None:
    with pytest.raises(BadMessage):
        messages.decode(data, 0, messages.TO_KEEPER)


@pytest.mark.parametrize("path", ["a/", "a/b/", "a//"])
def test_a_run_leaves_files_and_no_folders(path: str) -> None:
    """A folder is packed, and whoever asks for a file would not know that it is none."""
    data = messages.Run(1, "python", "run", LIMITS, leaves=(path,)).encode()
    with pytest.raises(BadMessage, match="leaves: a path that ends with '/'"):
        messages.decode(data, 1, messages.TO_KEEPER)


def test_a_message_that_is_too_long_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="at most 65536"):
        dataclasses.replace(EXAMPLES[0][0], toolchain="x" * 70000).encode()  # type: ignore[call-arg]


def test_a_message_whose_descriptors_find_no_room_is_told_apart(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    wire.send(one, messages.Started(9).encode(), [0, 1, 2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 2, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        os.close(taken.pop())
        with pytest.raises(wire.NoDescriptors) as told:
            wire.receive(other)
        assert messages.decode(told.value.data, None, messages.TO_HTTP) == messages.Started(9)
        assert os.dup(0) not in taken, "what did find room is closed"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


# -- warden and helpers


@pytest.mark.parametrize(("result", "descriptors"), [(4711, 1), (0, 0), (-24, 0)], ids=["made", "done", "EMFILE"])
def test_an_answer_of_a_helper_has_a_descriptor_exactly_where_it_made_a_process(result: int, descriptors: int) -> None:
    data = struct.pack("<Ii", 7, result)
    assert messages.decode_answer(data, descriptors) == messages.Answered(7, result)
    for bad, count in ((data, 1 - descriptors), (data, 2), (data[:-1], descriptors), (data + b"\0", descriptors)):
        with pytest.raises(BadMessage):
            messages.decode_answer(bad, count)


def test_no_more_ranges_are_sent_than_a_zygote_has_room_for() -> None:
    ranges = tuple((page << 12, 4096) for page in range(1000))
    data = messages.Prefault(1, ranges).encode()
    assert struct.unpack_from("<IIII", data) == (1, messages.REQUEST_PREFAULT, 512, 0)
    assert len(data) == 16 + 512 * 16


# -- the channel of a jail


def test_what_a_jail_says_is_checked() -> None:
    def reply(kind: int, value: int, text: bytes = b"", left: int = 0) -> bytes:
        return messages.REPLY_HEAD.pack(kind, value, 5, left) + text

    assert messages.decode_reply(reply(messages.REPLY_PARKED, 0), 3) == messages.Parked()
    assert messages.decode_reply(reply(messages.REPLY_STATUS, 9), 0) == messages.Status(9)
    with_time = messages.decode_reply(reply(messages.REPLY_STATUS, 9), 0)
    assert isinstance(with_time, messages.Status)
    assert with_time.ended_ns == 5
    assert messages.decode_reply(reply(messages.REPLY_STATUS, 0, left=5), 2) == messages.Status(0, left=(0, 2))
    assert messages.decode_reply(reply(messages.REPLY_LINGERS, 0), 0) == messages.Status(0, lingers=True)
    assert messages.decode_reply(reply(messages.REPLY_FAILED, 0, b"exec\0ENOENT"), 0) == messages.Failed(
        "exec", "ENOENT"
    )
    for data, descriptors in (
        (b"", 0), (b"\1\0\0\0", 3), (reply(messages.REPLY_PARKED, 0), 2), (reply(messages.REPLY_PARKED, 0, b"x"), 3),
        (reply(messages.REPLY_STATUS, 1 << 16), 0), (reply(messages.REPLY_STATUS, 0), 2), (reply(messages.REPLY_STATUS, 0, left=1 << messages.LEAVES_MAX), 1), (reply(9, 0), 0), (reply(4, 0, b"x" * 241), 0),
    ):  # fmt: skip
        with pytest.raises(BadMessage):
            messages.decode_reply(data, descriptors)


def test_what_a_jail_says_of_its_failure_is_one_short_line_of_ascii() -> None:
    told = messages.decode_reply(
        messages.REPLY_HEAD.pack(messages.REPLY_FAILED, 0, 0, 0) + b"a\nb\0\xff\x1b[31m\0more", 0
    )
    assert isinstance(told, messages.Failed)
    assert (told.stage + told.reason).isascii()
    assert (told.stage + told.reason).isprintable()


@pytest.mark.threat("D1")
def test_random_bytes_from_a_jail_are_a_reply_or_a_bad_message() -> None:
    rng = random.Random(11)
    for _ in range(20_000):
        data = bytes(rng.choice((0, 1, 2, 3, 4, 255)) for _ in range(rng.randrange(20)))
        try:
            messages.decode_reply(data, rng.randrange(4))
        except BadMessage as error:
            assert str(error).isascii()


def test_a_go_with_nul_or_too_much_is_not_encoded() -> None:
    assert messages.Go(True, False, True, ("a", ""), 9).encode() == messages.GO_HEAD.pack(5, 2, 3, 0, 9) + b"a\0\0"
    for strings in (("a\0b",), ("x" * 70000,)):
        with pytest.raises(ValueError, match=r"NUL|at most"):
            messages.Go(True, False, False, strings).encode()


# -- the wire


def test_a_message_arrives_with_its_descriptors(pair: tuple[socket.socket, socket.socket]) -> None:
    reader, writer = os.pipe()
    wire.send(pair[0], b"hello", (writer,))
    received = wire.receive(pair[1])
    assert received is not None
    data, (copy,) = received
    assert data == b"hello"
    os.write(copy, b"x")
    assert os.read(reader, 9) == b"x"
    assert not os.get_inheritable(copy)
    fds.close_all((reader, writer, copy))


def test_too_many_descriptors_are_a_bad_message_and_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    before = open_descriptors()
    socket.send_fds(pair[0], [b"x"], [0] * 20)
    with pytest.raises(BadMessage):
        wire.receive(pair[1])
    assert open_descriptors() == before


def test_the_end_of_the_stream_is_none_and_an_empty_socket_blocks(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        wire.receive(pair[1])
    pair[0].close()
    assert wire.receive(pair[1]) is None


def test_copies_are_all_or_none() -> None:
    before = open_descriptors()
    with pytest.raises(OSError, match="Bad file"):
        fds.copies([0, 1, 9999])
    assert open_descriptors() == before
    fds.close_all(fds.copies([0, 1]))
    assert open_descriptors() == before


def test_a_sealed_memfd_cannot_be_changed() -> None:
    sealed, plain = fds.memfd("a", b"content", sealed=True), fds.memfd("a", b"content")
    assert (fds.is_sealed(sealed), fds.is_sealed(plain), fds.is_sealed(0)) == (True, False, False)
    assert os.read(plain, 99) == b"content"
    with pytest.raises(PermissionError):
        os.pwrite(sealed, b"x", 0)
    copied = fds.sealed_copy(plain)
    assert (fds.is_sealed(copied), os.pread(copied, 99, 0)) == (True, b"content")
    fds.close_all((sealed, plain, copied))


# -- limits

MAXIMUM = Limits(memory_bytes=100, wall_ns=100, processes=10, cpu_ns=None, cpu_share_ms=500)


@pytest.mark.parametrize(
    ("change", "beyond"),
    [
        ({}, None), ({"memory_bytes": 101}, "memory_bytes"), ({"wall_ns": 101}, "wall_ns"), ({"processes": 11}, "processes"),
        ({"cpu_ns": 5}, None), ({"cpu_share_ms": None}, "cpu_share_ms"), ({"cpu_share_ms": 501}, "cpu_share_ms"),
    ],
    ids=str,
)  # fmt: skip
def test_limits_beyond_their_maximum_are_named(change: dict[str, int], beyond: str | None) -> None:
    fields = {"memory_bytes": 100, "wall_ns": 100, "processes": 10, "cpu_share_ms": 500, **change}
    assert Limits(**fields).within(MAXIMUM) == beyond


# -- what a socket does not take at once


def test_what_a_full_socket_does_not_take_is_kept_in_order_and_with_its_descriptors(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    before, outbox = open_descriptors(), Outbox(pair[0])
    count = 0
    while not outbox.is_waiting:
        outbox.send(b"%d" % count)
        count += 1
    reader, writer = os.pipe()
    outbox.send(b"last", (writer,))
    os.close(writer)
    assert len(outbox) == 2
    heard = []
    while b"last" not in heard:
        outbox.flush()
        received = wire.receive(pair[1])
        assert received is not None
        heard.append(received[0])
    assert heard == [b"%d" % number for number in range(count)] + [b"last"]
    os.write(received[1][0], b"it is the same pipe")
    assert os.read(reader, 99) == b"it is the same pipe"
    fds.close_all((reader, *received[1]))
    assert (len(outbox), open_descriptors()) == (0, before)


def test_what_waits_is_closed_when_it_is_forgotten_and_a_peer_that_is_gone_is_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    before, outbox = open_descriptors(), Outbox(pair[0])
    while not outbox.is_waiting:
        outbox.send(b"x" * 1000)
    outbox.send(b"with a copy", (0,))
    assert open_descriptors() == before + 1
    outbox.clear()
    assert (len(outbox), open_descriptors()) == (0, before)
    pair[1].close()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        outbox.send(b"x")
