"""A log that nobody reads stops neither requests nor the supervisor, which logs before it starts a process again."""

import collections.abc
import contextlib
import fcntl
import json
import os

import pytest

from tests.server import START_S, Server, until


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is its own."""


@pytest.fixture
def full_pipe() -> collections.abc.Iterator[tuple[int, int]]:
    """One to read and one to write, which has no room for a byte."""
    reader, writer = os.pipe()
    own = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"\n" * size)
    os.close(own)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.mark.slow
def test_a_full_pipe_costs_lines_and_nothing_else(full_pipe: tuple[int, int]) -> None:
    reader, writer = full_pipe
    with Server(languages=["python"], stderr=writer) as server:
        for number in range(20):
            assert server.execute("python", f"print({number})")["output"] == f"{number}\n"
        killed = server.keeper
        killed.kill()
        until(lambda: not killed.is_running(), 5, "the keeper is dead")
        server.wait_healthy(START_S)
        assert server.execute("python", "print(6 * 7)")["output"] == "42\n"
        assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
        os.set_blocking(reader, False)
        found = b""

        def is_told() -> bool:
            nonlocal found
            server.request("GET", "/languages")
            with contextlib.suppress(BlockingIOError):
                found += os.read(reader, 1 << 20)
            return b"lines were dropped" in found

        until(is_told, 5, "the log tells how many lines it lacks")
        (told, *_) = [json.loads(line) for line in found.splitlines() if b"lines were dropped" in line]
        assert told["lines"] >= 21
