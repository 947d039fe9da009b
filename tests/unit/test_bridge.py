"""What one program says to another that has stopped reading is read all the same, up to the limit."""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Iterator

import pytest

from daemon.sandbox.pumps import Bridge


@dataclasses.dataclass(slots=True)
class Joined:
    """A bridge, the ends that two programs would have, and what it told."""

    bridge: Bridge
    writer: int
    reader: int
    told: list[str]
    ended: asyncio.Event


@contextlib.contextmanager
def joined(room: int) -> Iterator[Joined]:
    source, writer = os.pipe()
    reader, target = os.pipe()
    told: list[str] = []
    ended = asyncio.Event()

    def tell(what: str) -> None:
        told.append(what)
        ended.set()

    bridge = Bridge(
        asyncio.get_running_loop(), source, target, room, lambda: tell("over"), lambda: tell("end")
    )  # fmt: skip
    try:
        yield Joined(bridge, writer, reader, told, ended)
    finally:
        bridge.close()
        for descriptor in (writer, reader):
            with contextlib.suppress(OSError):  # the test has closed it
                os.close(descriptor)


async def test_what_is_read_arrives_and_the_end_is_told() -> None:
    with joined(room=100) as one:
        os.write(one.writer, b"hello")
        os.close(one.writer)
        await one.ended.wait()
        assert (one.told, one.bridge.is_unheard) == (["end"], False)
        assert os.read(one.reader, 10) == b"hello"
        os.set_blocking(one.reader, False)
        with pytest.raises(BlockingIOError):
            os.read(one.reader, 10)
        one.bridge.close()  # only now the reader hears that nothing more will come
        assert os.read(one.reader, 10) == b""


@pytest.mark.parametrize(("said", "told"), [(b"12345", ["end"]), (b"123456", ["over"])])
async def test_the_limit_is_the_last_byte_that_may_be_said(said: bytes, told: list[str]) -> None:
    with joined(room=5) as one:
        os.write(one.writer, said)
        os.close(one.writer)
        await one.ended.wait()
        assert (one.told, os.read(one.reader, 10)) == (told, b"12345")


async def test_a_writer_whose_reader_is_gone_writes_on_and_its_end_is_told() -> None:
    with joined(room=10 << 20) as one:
        os.close(one.reader)
        await asyncio.to_thread(_write, one.writer, 4 << 20)
        os.close(one.writer)
        await one.ended.wait()
        assert (one.told, one.bridge.is_unheard) == (["end"], True)


async def test_a_writer_that_nobody_reads_has_its_limit() -> None:
    with joined(room=1 << 20) as one:
        os.close(one.reader)
        with pytest.raises(BrokenPipeError):
            await asyncio.to_thread(_write, one.writer, 4 << 20)
        assert (one.told, one.bridge.is_unheard) == (["over"], True)


def _write(descriptor: int, size: int) -> None:
    while size > 0:
        size -= os.write(descriptor, bytes(min(size, 1 << 16)))
