"""Tables of system calls: made in order, until one fails."""

import os

import pytest

from daemon.warden import calls, linux
from daemon.warden.calls import UID, At, Call, Failed, Table, Words

ROOM = 4096
NO_DESCRIPTOR = 0x7FFFFFFF


@pytest.fixture
def runner() -> calls.Runner:
    return calls.Runner(ROOM)


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def write(descriptor: int, data: bytes) -> Call:
    return Call("test: write", linux.SYS_WRITE, (descriptor, data, len(data)))


def test_calls_are_made_in_their_order(runner: calls.Runner, pipe: tuple[int, int]) -> None:
    runner.make([write(pipe[1], letter) for letter in (b"a", b"b", b"c")])
    assert os.read(pipe[0], 10) == b"abc"


def test_the_first_that_fails_ends_it_and_is_named(runner: calls.Runner, pipe: tuple[int, int]) -> None:
    row = [write(pipe[1], b"before"), Call("groups: join", linux.SYS_CLOSE, (NO_DESCRIPTOR,)), write(pipe[1], b"after")]
    with pytest.raises(Failed) as raised:
        runner.make(row)
    assert raised.value.stage == "groups"
    assert str(raised.value.error) == "[Errno 9] join: Bad file descriptor"
    assert os.read(pipe[0], 20) == b"before"


def test_where_a_call_returns_zero_it_may_go_on_elsewhere(runner: calls.Runner, pipe: tuple[int, int]) -> None:
    closed = os.dup(pipe[1])
    elsewhere = [write(pipe[1], b"elsewhere")]
    runner.make([Call("test: close", linux.SYS_CLOSE, (closed,), elsewhere), write(pipe[1], b"here")])
    assert os.read(pipe[0], 20) == b"elsewhere"
    runner.make(
        [Call("test: umask", linux.SYS_UMASK, (os.umask(0o022),), elsewhere), write(pipe[1], b"here")], runner.address
    )
    assert os.read(pipe[0], 20) == b"here", "umask(2) returned 022"


def test_memory_is_read_and_written_where_it_is_said(runner: calls.Runner, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"12345678")
    words = Words((0, 0))
    row = [
        Call("test: read", linux.SYS_READ, (pipe[0], At(words, 8), 8)),
        Call("test: write", linux.SYS_WRITE, (pipe[1], words, 16)),
    ]
    runner.make(row)
    assert os.read(pipe[0], 20) == bytes(8) + b"12345678"


def test_the_uid_is_filled_in_for_each() -> None:
    table = Table([Call("test: setresuid", linux.SYS_SETRESUID, (UID, 7, UID))], 0, ROOM)
    for uid in (5, 2**31):
        assert calls.ENTRY.unpack_from(table.with_uid(uid))[1:4] == (uid, 7, uid)


def test_a_table_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="room for 4096"):
        Table([write(1, b"x")] * 100, 0, ROOM)
