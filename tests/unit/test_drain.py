"""Reading what a program said when it has ended."""

import asyncio
import fcntl
import os

import pytest

from daemon.sandbox.pumps import READ_BYTES, Drain


async def test_what_a_pipe_holds_is_read_whole_though_somebody_keeps_its_other_end() -> None:
    """As a cycle of sockets does, which no process holds."""
    reader, writer = os.pipe()
    said = bytes(READ_BYTES - 1) + b"the end"
    over: list[bool] = []
    drain = Drain(asyncio.get_running_loop(), {reader: "stdout"}, len(said), lambda: over.append(True), None)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 2 * READ_BYTES)
    os.write(writer, said)
    await asyncio.wait_for(drain.rest(), 5)
    assert (drain.content("stdout"), over) == (said, [])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)
    os.close(writer)


async def test_output_beyond_the_limit_is_told_though_the_program_has_ended() -> None:
    reader, writer = os.pipe()
    over: list[bool] = []
    drain = Drain(asyncio.get_running_loop(), {reader: "stderr"}, 3, lambda: over.append(True), None)
    os.write(writer, b"four")
    os.close(writer)
    await asyncio.wait_for(drain.rest(), 5)
    assert (drain.content("stderr"), over, drain.is_over) == (b"fou", [True], True)
