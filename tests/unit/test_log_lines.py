"""Whoever logs never waits: what nobody reads is dropped, counted and told of. No stderr that others share is changed."""

import collections.abc
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys

import pytest

from daemon.host.log import STDERR, Lines

NOBODY = 65534
LINE = json.dumps({"event": "x" * 300})


@contextlib.contextmanager
def as_stderr(descriptor: int) -> collections.abc.Iterator[None]:
    """It is this process's stderr, as an inherited one would be."""
    kept = os.dup(STDERR)
    os.dup2(descriptor, STDERR)
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> collections.abc.Iterator[tuple[int, int]]:
    """One to read and one to write, as of a shell's pipe and of systemd's journal."""
    if request.param == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (end.detach() for end in socket.socketpair())
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read(reader: int) -> bytes:
    """All that is there now."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reader, 1 << 20):
            found += more
    return found


def test_what_nobody_reads_is_dropped_and_told_of_when_there_is_room(ends: tuple[int, int]) -> None:
    reader, writer = ends
    with as_stderr(writer):
        lines = Lines()
        for _ in range(5000):  # more than any of them holds
            lines.write(LINE)
        before = read(reader)
        lines.write(LINE)
        after = read(reader)
    kept = [json.loads(line) for line in (before + after).splitlines()]
    (told,) = [line for line in kept if "lines" in line]
    assert 0 < len(kept) - 1 < 5000
    assert told["lines"] == 5001 - (len(kept) - 1), "each line was written or counted"
    assert (told["level"], told["event"]) == ("warning", "lines were dropped, as nobody read the log")
    assert kept[-1] == json.loads(LINE)


def test_the_stderr_that_others_share_goes_on_to_wait(ends: tuple[int, int]) -> None:
    _, writer = ends
    with as_stderr(writer):
        Lines().write(LINE)
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_line_that_is_longer_than_the_room_comes_whole(ends: tuple[int, int]) -> None:
    reader, writer = ends
    found = b""
    with as_stderr(writer):
        lines = Lines()
        lines.write("long " * 200_000)
        while not found.endswith(b"last\n"):
            found += read(reader)
            lines.write("last")
    first, *others = found.splitlines()
    assert first == b"long " * 200_000
    assert set(others) - {b"last"} == {line for line in others if b"were dropped" in line}


def test_a_program_that_is_started_does_not_wait_either() -> None:
    """The HTTP process gets its stderr from the supervisor, and may not open that of another user anew."""
    reader, writer = os.pipe()
    with as_stderr(writer):
        Lines()
        flags = subprocess.run(
            [sys.executable, "-c", "import fcntl, os; print(fcntl.fcntl(2, fcntl.F_GETFL) & os.O_NONBLOCK)"],
            stdout=subprocess.PIPE, check=True, user=NOBODY,
        ).stdout  # fmt: skip
    os.close(reader)
    os.close(writer)
    assert int(flags) == os.O_NONBLOCK


def test_another_users_pipe_is_asked_for_room_before_each_line() -> None:
    reader, writer = os.pipe()
    program = "from daemon.host.log import Lines; lines = Lines(); [lines.write('x' * 5000) for _ in range(100)]; print(lines)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, stderr=writer, cwd="/", timeout=20, check=True,
        user=NOBODY, extra_groups=[],
    )  # fmt: skip
    assert done.stdout.startswith(b"<Lines: ") and b" 0 dropped" not in done.stdout
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(reader)
    os.close(writer)


def test_without_any_stderr_nothing_is_raised() -> None:
    program = (
        "import os; os.close(2); from daemon.host.log import Lines; lines = Lines(); lines.write('x'); print(lines)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, cwd="/", check=True)
    assert done.stdout == b"<Lines: 1 dropped>\n"
