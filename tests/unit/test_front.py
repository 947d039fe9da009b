"""At its end the HTTP process lets what has begun come to its end, and no client is left in doubt."""

import asyncio
import collections.abc
import contextlib
import os
import pathlib
import socket
import stat

import pytest
from aiohttp import web

from daemon.api import front
from daemon.api.connections import Limits
from daemon.api.metrics import Metrics
from daemon.api.observer import Observer
from daemon.settings import Settings

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


LARGE = 6 << 20  # more than the kernel's buffers of both ends take


class Served:
    """A front with the routes /now, /large, /held (answers when `go` is set) and /stream (ends then), on a socket."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.go, self.began, self.hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/now", self._now)
        app.router.add_get("/held", self._held)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/large", self._large)
        observer = Observer(Metrics(), None, logs=False)
        observer.install(app)
        self.front = front.Front(app, observer, Limits.of(Settings()))

    async def _now(self, _: web.Request) -> web.Response:
        return web.Response(text="now")

    async def _held(self, _: web.Request) -> web.Response:
        self.began.set()
        await self.go.wait()
        return web.Response(text="held")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        self.began.set()
        await self.go.wait()
        await response.write(b"last")
        return response

    async def _large(self, _: web.Request) -> web.Response:
        self.began.set()
        return web.Response(body=bytes(LARGE))

    async def connect(self, path: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self.listener.getsockname()
        unix = isinstance(address, str)
        streams = await (asyncio.open_unix_connection(address) if unix else asyncio.open_connection(*address))
        streams[1].write(GET % path)
        return streams

    def drain(self, seconds: float) -> "asyncio.Task[None]":
        return asyncio.create_task(self.front.drain(seconds, self.hurry))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that a person waits for, shorter."""
    monkeypatch.setattr(front, "IDLE_S", 0.3)
    monkeypatch.setattr(front, "WRITE_S", 0.3)


@pytest.fixture(params=["tcp", "unix"])
async def served(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> collections.abc.AsyncIterator[Served]:
    if request.param == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
    with listener:
        running = Served(listener)
        await running.front.open([listener.dup()])
        yield running


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


async def test_a_request_that_has_begun_is_answered_and_its_connection_closed(served: Served) -> None:
    reader, _writer = await served.connect(b"held")
    await served.began.wait()
    draining = served.drain(60)
    await asyncio.sleep(0)
    served.go.set()
    answer = await reader.read()  # until the connection ends
    assert answer.endswith(b"held") and b"Connection: close" in answer
    await draining


async def test_an_open_connection_may_send_one_request_more(served: Served) -> None:
    """Its client could not know; had it been closed at once, that request would be lost."""
    reader, writer = await served.connect(b"now")
    assert b"Connection: close" not in await read_answer(reader)
    draining = served.drain(60)
    await asyncio.sleep(front.LOOK_S)
    writer.write(GET % b"now")
    answer = await reader.read()
    assert answer.endswith(b"now") and b"Connection: close" in answer
    await draining


async def test_an_idle_connection_is_closed(served: Served) -> None:
    reader, _writer = await served.connect(b"now")
    await read_answer(reader)
    began_s = asyncio.get_running_loop().time()
    await served.drain(60)
    assert await reader.read() == b""
    assert asyncio.get_running_loop().time() - began_s < 10 * front.IDLE_S


async def test_a_stream_goes_on_to_its_end(served: Served) -> None:
    reader, _writer = await served.connect(b"stream")
    await served.began.wait()
    draining = served.drain(60)
    done, _ = await asyncio.wait([draining], timeout=1.5 * front.IDLE_S)
    assert not done
    served.go.set()
    assert b"last" in await reader.read()
    await draining


async def test_a_slow_reader_gets_all_of_its_answer(served: Served) -> None:
    """Its handler has long returned; what is left to be sent is a request still."""
    reader, _writer = await served.connect(b"large")
    await served.began.wait()
    draining = served.drain(60)
    done, _ = await asyncio.wait([draining], timeout=front.IDLE_S + 2 * front.WRITE_S)
    assert not done
    answer = await reader.read()
    assert len(answer) > LARGE
    await draining


@pytest.mark.parametrize("ends_by", ["time", "hurry"])
async def test_what_does_not_end_is_cancelled(served: Served, ends_by: str) -> None:
    reader, _writer = await served.connect(b"held")
    await served.began.wait()
    draining = served.drain(0.1 if ends_by == "time" else 60)
    if ends_by == "hurry":
        served.hurry.set()
    await asyncio.wait_for(draining, 2 * front.WRITE_S + 3)
    assert await reader.read() == b""


async def test_who_connects_meanwhile_waits_for_the_next_process(served: Served) -> None:
    await served.drain(60)
    reader, writer = await served.connect(b"now")
    after = Served(served.listener)
    await after.front.open([served.listener.dup()])
    assert (await read_answer(reader)).endswith(b"now")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await after.front.drain(1, after.hurry)


@pytest.mark.parametrize("served", ["unix"], indirect=True)
async def test_the_path_of_a_unix_socket_stays(served: Served) -> None:
    """It is systemd's, or the next process's too. With Python 3.13 asyncio removes it, unless it is told not to."""
    await served.drain(0)
    assert stat.S_ISSOCK(os.stat(served.listener.getsockname()).st_mode)
