"""Reading what a program said when it has ended."""

import asyncio
import fcntl
import os
import threading
import time

import pytest

from daemon.sandbox import pumps
from daemon.sandbox.pumps import LITTLE_READS, PAUSE_S, READ_BYTES, Drain


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


@pytest.mark.threat("O1", "U3")
async def test_what_is_said_byte_by_byte_is_read_a_few_hundred_times_a_second() -> None:
    """Each read, and each event of it, costs the process that serves everybody more than the byte costs its writer."""
    reader, writer = os.pipe()
    heard: list[bytes] = []
    ended = asyncio.Event()
    loop, count, began_s = asyncio.get_running_loop(), 20_000, time.monotonic()
    drain = Drain(loop, {reader: "stdout"}, count, lambda: None, lambda _, data: heard.append(data))

    def say() -> None:
        for _ in range(count):
            os.write(writer, b"x")
        os.close(writer)
        loop.call_soon_threadsafe(ended.set)

    saying = threading.Thread(target=say)
    saying.start()
    await asyncio.wait_for(ended.wait(), 30)
    await drain.rest()
    saying.join()
    assert drain.content("stdout") == b"".join(heard) == b"x" * count
    assert len(heard) <= 2 * LITTLE_READS + (time.monotonic() - began_s) / PAUSE_S


async def test_what_is_said_beside_little_output_is_heard_in_its_order_and_soon_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A traceback on stderr follows what was printed before it, as it would where nothing rests."""
    (stdout, out), (stderr, err) = os.pipe(), os.pipe()
    heard: list[tuple[str, bytes]] = []
    more = asyncio.Event()

    def hear(name: str, data: bytes) -> None:
        heard.append((name, data))
        more.set()

    async def until_heard(count: int) -> None:
        while len(heard) < count:
            more.clear()
            await asyncio.wait_for(more.wait(), 5)

    drain = Drain(asyncio.get_running_loop(), {stdout: "stdout", stderr: "stderr"}, 1 << 20, lambda: None, hear)
    for count in range(LITTLE_READS + 1):
        os.write(out, b"x")
        await until_heard(count + 1)
    assert drain._paused is not None
    os.write(err, b"traceback")
    os.write(out, b"before it")
    await until_heard(LITTLE_READS + 3)
    assert heard[-2:] == [("stdout", b"before it"), ("stderr", b"traceback")]
    monkeypatch.setattr(pumps, "QUIET_S", 0.0)
    os.write(out, b"x")
    await until_heard(LITTLE_READS + 4)
    assert drain._paused is None, "it was quiet before"
    drain.close()
    os.close(out)
    os.close(err)


async def test_a_stream_that_rests_can_be_closed() -> None:
    reader, writer = os.pipe()
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    drain = Drain(loop, {reader: "stdout"}, 1 << 20, lambda: None, lambda *_: heard.set())
    for _ in range(LITTLE_READS + 1):
        heard.clear()
        os.write(writer, b"x")
        await asyncio.wait_for(heard.wait(), 5)
    drain.close()
    await asyncio.sleep(2 * PAUSE_S)
    os.close(writer)
    assert drain._paused is None
