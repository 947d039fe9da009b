"""Connections and what they hold are bounded: in number, in bytes, in seconds. Real sockets, no server of programs."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import json
import socket

import pytest
import structlog
from aiohttp import web

from daemon.api import errors, pace, stream
from daemon.api.admission import Admission
from daemon.api.body import Bodies
from daemon.api.client import CLIENT, Client
from daemon.api.connections import Connections, Limits
from daemon.api.front import Front
from daemon.api.metrics import Metrics
from daemon.api.models import ExecuteRequest
from daemon.api.observer import Observer
from daemon.api.parser import Parser
from daemon.api.unread import Unread
from daemon.settings import Settings

MB = 1 << 20
LARGE = 6 * MB  # more than the kernel's buffers of both ends take
SMALL_BUFFER = 4096
DEFAULT = Limits.of(Settings())
LIMITS = dataclasses.replace(DEFAULT, headers_s=0.2, idle_s=0.2, unread_s=0.3)
ADDRESSES = {"tcp": "address 127.0.0.1", "unix": "address unix"}
GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["tcp", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Served:
    """A front with the routes /small, /large, /held (until `go`) and /stream (of LARGE bytes; runs on at its own pace)."""

    def __init__(self, limits: Limits, kind: str = "tcp") -> None:
        self.metrics, self.go, self.began, self.told = Metrics(), asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.larges = 0
        app = web.Application(client_max_size=2 * MB, middlewares=[errors.middleware])
        for name in ("small", "large", "held", "stream"):
            app.router.add_get(f"/{name}", getattr(self, f"_{name}"))
        app.router.add_post("/large", self._large)
        app.router.add_post("/body", self._body)
        app.router.add_post("/late", self._late)
        self.observer = Observer(self.metrics, None, logs=True)
        self.observer.install(app)
        self.front = Front(app, self.observer, limits)
        self.connections = self.front.connections
        self._listener = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        self._listener.bind(f"\0cellblock-test-{id(self)}" if kind == "unix" else ("127.0.0.1", 0))
        self._listener.listen()

    async def __aenter__(self) -> "Served":
        await self.front.open([self._listener.dup()])
        return self

    async def __aexit__(self, *_: object) -> None:
        hurry = asyncio.Event()
        hurry.set()
        self.go.set()
        await self.front.drain(0, hurry)
        self._listener.close()

    async def _small(self, _: web.Request) -> web.Response:
        return web.Response(text="small")

    async def _large(self, request: web.Request) -> web.Response:
        self.larges += 1
        request[CLIENT] = Client(request.headers.get("X-Client", "one"))
        return web.Response(body=bytes(LARGE))

    async def _body(self, request: web.Request) -> web.Response:
        with Admission(1, 0).room(Client("one")) as room:
            request[CLIENT] = Client("one")
            parser = Parser(Settings().body_bytes_max, 1)
            bodies = Bodies(parser, Settings().body_bytes_max, Settings().body_bytes_per_s_min)
            await bodies.read(request, ExecuteRequest, room)
        return web.Response()

    async def _late(self, request: web.Request) -> web.Response:
        self.began.set()
        await self.go.wait()
        return web.Response(text=str(len(await request.read())))

    async def _held(self, _: web.Request) -> web.Response:
        self.began.set()
        await self.go.wait()
        return web.Response(text="held")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        async def work(tell: stream.Tell) -> stream.Event:
            for _ in range(LARGE // MB):
                tell("stdout", json.dumps({"text": "x" * MB}).encode())
                await asyncio.sleep(0)
            self.told.set()
            return "result", b"{}"

        return await stream.stream(request, work)

    def connect(self, *requests: bytes) -> socket.socket:
        """A client that has sent these and reads nothing by itself."""
        client = socket.socket(self._listener.family)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.connect(self._listener.getsockname())
        client.setblocking(False)
        client.sendall(b"".join(requests))
        return client

    def refused(self, code: str) -> float:
        self.observer.count()
        return self.metrics.registry.get_sample_value("cellblock_refused_total", {"code": code}) or 0


async def read(client: socket.socket, size: int = MB) -> bytes:
    """The next bytes; none at the end of the connection, however it ends."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, size), 20)
    return b""


async def read_all(client: socket.socket) -> bytes:
    data = bytearray()
    while piece := await read(client):
        data += piece
    return bytes(data)


async def until(condition: collections.abc.Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (nobody signals it)
            await asyncio.sleep(0.005)


# -- answers that are not read


async def test_an_answer_that_is_not_read_is_cut(kind: str) -> None:
    async with Served(LIMITS, kind) as served:
        with served.connect(GET % b"large") as client:
            await until(lambda: served.connections.unread.total > 0)
            await until(lambda: served.connections.count == 0)
            assert len(await read_all(client)) < LARGE
        assert served.connections.unread.total == served.connections.busy == 0
        await until(lambda: served.refused("answer_unread") == 1)


async def test_a_slow_but_steady_reader_is_served_to_the_end(kind: str) -> None:
    """For several times as long as somebody who takes nothing may stay."""
    async with Served(dataclasses.replace(LIMITS, unread_s=0.3), kind) as served:
        with served.connect(GET % b"large") as client:
            size = 0
            for _ in range(14):
                await asyncio.sleep(0.075)
                size += len(await read(client, 70_000))
            assert served.connections.unread.total > 0
            while size < LARGE:
                piece = await read(client)
                assert piece, "it was cut"
                size += len(piece)


async def test_an_event_stream_that_is_not_read_is_cut_and_counts_what_waits_to_be_written(kind: str) -> None:
    async with Served(LIMITS, kind) as served:
        with served.connect(GET % b"stream"):
            await served.told.wait()  # what runs did not wait for the reader
            assert served.connections.unread.total > LARGE // 2
            await until(lambda: served.connections.count == 0)
        assert served.connections.unread.total == 0


async def test_a_stream_that_is_read_slowly_ends_with_its_result() -> None:
    async with Served(LIMITS) as served:
        with served.connect(GET % b"stream") as client:
            await served.told.wait()
            data = b""
            while b"event: result" not in data:
                piece = await read(client)
                assert piece, "it was cut"
                data = data[-100:] + piece
        await until(lambda: served.connections.unread.total == 0)


async def test_above_the_budget_the_client_with_most_loses_and_the_other_is_served() -> None:
    limits = dataclasses.replace(LIMITS, unread_s=60, unread_bytes=3 * LARGE)
    async with Served(limits) as served, contextlib.AsyncExitStack() as stack:
        honest = stack.enter_context(served.connect(b"GET /large HTTP/1.1\r\nHost: x\r\nX-Client: two\r\n\r\n"))
        await until(lambda: served.connections.unread.total > 0)
        greedy = [stack.enter_context(served.connect(GET % b"large")) for _ in range(6)]
        await until(lambda: served.larges == 7)
        assert served.connections.unread.total <= limits.unread_bytes
        size = 0
        while size < LARGE:
            piece = await read(honest)
            assert piece, "it was cut"
            size += len(piece)
        sizes = [len(await read_all(one)) for one in greedy]  # which one is asked first is epoll's to say
        assert min(sizes) < LARGE


@dataclasses.dataclass(eq=False)
class Writer:
    client: str
    unread: int
    taken: int = 0
    is_cut: bool = False

    def unread_bytes(self) -> int:
        return self.unread

    def taken_bytes(self) -> int:
        return self.taken

    def cut(self) -> None:
        self.is_cut = True


def test_of_one_client_the_reader_that_stands_still_is_cut_before_the_one_that_reads() -> None:
    unread = Unread(100, 60)
    steady, still, new = Writer("one", 40), Writer("one", 40), Writer("one", 40)
    unread.hold(steady, 0)
    unread.hold(still, 1)
    steady.taken, steady.unread = 5, 35
    unread.look(2)
    unread.hold(new, 3)
    assert (steady.is_cut, still.is_cut, new.is_cut, unread.total) == (False, True, False, 75)


# -- connections without a complete request


async def test_who_sends_nothing_is_closed(kind: str) -> None:
    async with Served(LIMITS, kind) as served:
        with served.connect() as client:
            assert await read_all(client) == b""


async def test_who_sends_half_a_request_is_told_and_the_answers_id_finds_its_line(kind: str) -> None:
    with structlog.testing.capture_logs() as lines:
        async with Served(LIMITS, kind) as served:
            with served.connect(b"GET /small HTTP/1.1\r\nX-A: ") as client:
                answer = await read_all(client)
            assert served.refused("request_timeout") == 1
    assert answer.startswith(b"HTTP/1.1 408 Request timeout\r\n")
    (line,) = lines
    assert (line["path"], line["status"], line["code"]) == ("unread", 408, "request_timeout")
    assert (line["client"], line["bytes_out"]) == (ADDRESSES[kind], len(answer))
    assert b"\r\nX-Request-Id: %b\r\n" % line["request_id"].encode() in answer


async def test_a_byte_now_and_then_buys_no_time() -> None:
    async with Served(LIMITS) as served:
        with served.connect(b"GET /small HTTP/1.1\r\nX-A: ") as client:
            await until(lambda: served.connections.count == 1)
            with contextlib.suppress(ConnectionError):
                while served.connections.count:
                    client.send(b"x")
                    await asyncio.sleep(0.02)
            assert served.refused("request_timeout") == 1


async def test_a_kept_connection_is_closed_when_it_is_idle_and_not_while_it_is_answered() -> None:
    async with Served(dataclasses.replace(LIMITS, idle_s=0.1)) as served:
        with served.connect(GET % b"small") as client:
            assert (await read_all(client)).endswith(b"small")
        with served.connect(GET % b"held") as client:
            await served.began.wait()
            await asyncio.sleep(0.3)
            served.go.set()
            assert (await read_all(client)).endswith(b"held")


async def test_headers_are_counted_for_each_request_alone() -> None:
    async with Served(DEFAULT) as served:
        with served.connect() as client:
            for _ in range(40):
                client.send(b"GET /small HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 1000 + b"\r\n\r\n")
                assert (await read(client)).endswith(b"small")


async def test_headers_without_end_are_refused() -> None:
    async with Served(DEFAULT) as served:
        with served.connect(b"GET /small HTTP/1.1\r\n", b"X-A: 1234567890\r\n" * 3000) as client:
            assert b" 400 " in (await read_all(client)).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "chunk", [b"1\r\nx\r\n", b"1;" + b"e" * 4000 + b"\r\nx\r\n"], ids=["of a byte", "with an extension"]
)
async def test_chunks_that_are_mostly_frame_are_refused(chunk: bytes) -> None:
    """Each costs as much to parse as a kilobyte: a body of them would hold up everybody."""
    head = b"POST /large HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Served(DEFAULT) as served:
        with served.connect(head, chunk * (100_000 // len(chunk))) as client:
            assert (await read_all(client)).startswith(b"HTTP/1.1 400 Bad request\r\n")
        assert served.connections.busy == 0


async def test_a_body_that_is_read_late_is_not_taken_for_frames() -> None:
    """What has come and is not parsed, because its reader takes nothing yet, may be content."""
    parts = b" " * 100_000, b" " * 200_000, b" " * 700_000
    async with Served(DEFAULT) as served:
        with served.connect(b"POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n") as client:
            await served.began.wait()
            (connection,) = served.front._runner.server.connections  # type: ignore[union-attr]
            for part in parts[:2]:
                await asyncio.get_running_loop().sock_sendall(client, part)
                await until(lambda: connection._reading_paused or connection._body_bytes >= 100_000)  # type: ignore[attr-defined]
            served.go.set()
            await asyncio.get_running_loop().sock_sendall(client, parts[2])
            assert (await read(client)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_requests_that_are_sent_ahead_are_not_all_read() -> None:
    """A connection that sends on and on behind a request under way fills its own kernel buffers, not our memory."""
    async with Served(DEFAULT) as served:
        with served.connect(GET % b"held") as client:
            await served.began.wait()
            (connection,) = served.front._runner.server.connections  # type: ignore[union-attr]
            with pytest.raises(BlockingIOError):
                while True:
                    client.send(GET % b"small" * 100)
                    await asyncio.sleep(0)
            assert len(connection._messages) < 40


async def test_the_one_that_waits_longest_gives_way_to_a_new_one(kind: str) -> None:
    async with Served(dataclasses.replace(DEFAULT, in_all=5), kind) as served, contextlib.AsyncExitStack() as stack:
        clients = []
        for number in range(12):
            clients.append(stack.enter_context(served.connect(b"GET /sm", b"")))
            await until(lambda number=number: served.connections.count == min(5, number + 1))  # type: ignore[misc]
        with served.connect(GET % b"small") as honest:
            assert (await read(honest)).endswith(b"small")
        assert await read_all(clients[0]) == b""


async def test_a_new_one_is_refused_where_all_are_answered() -> None:
    async with Served(dataclasses.replace(DEFAULT, in_all=2)) as served:
        with served.connect(GET % b"held") as one, served.connect(GET % b"held"):
            await until(lambda: served.connections.busy == 2)
            for _ in range(2):
                with served.connect(GET % b"small") as new:
                    answer = await read_all(new)
                    assert answer.startswith(b"HTTP/1.1 503 Service unavailable\r\n")
                    assert b"\r\nX-Request-Id: " in answer
            served.go.set()
            assert (await read(one)).endswith(b"held")
        assert served.refused("too_many_connections") == 2


async def test_headers_that_are_too_long_are_told_with_an_id_of_ours_and_chunks_that_are_too_small_with_the_clients() -> (
    None
):
    """The first request could not be read, so nothing is known of it; the second one's headers were."""
    with structlog.testing.capture_logs() as lines:
        async with Served(DEFAULT) as served:
            with served.connect(
                b"GET /small HTTP/1.1\r\nX-Request-Id: mine\r\nX-A: " + b"x" * 10_000 + b"\r\n\r\n"
            ) as client:
                long = await read_all(client)
            head = b"POST /late HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n\r\n"
            with served.connect(head) as client:
                await served.began.wait()
                client.sendall(b"1\r\nx\r\n" * 20_000)
                chunks = await read_all(client)
            assert served.refused("bad_http") == 2
    assert b"X-Request-Id: mine" not in long and b"\r\nX-Request-Id: " in long
    assert b"\r\nX-Request-Id: mine\r\n" in chunks
    assert [(line["path"], line["status"], line["client"]) for line in lines] == [
        ("unread", 400, "address 127.0.0.1"), ("/late", 400, "address 127.0.0.1")
    ]  # fmt: skip
    assert [line["bytes_out"] for line in lines] == [len(long), len(chunks)]


async def test_who_sends_less_than_the_body_that_was_announced_gives_way() -> None:
    async with Served(dataclasses.replace(DEFAULT, in_all=1)) as served:
        announced = b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        with served.connect(announced) as slow:
            await until(lambda: served.connections.busy == 1)
            with served.connect(GET % b"small") as new:
                assert (await read(new)).endswith(b"small")
            assert len(await read_all(slow)) < LARGE


@pytest.mark.parametrize(("first", "status"), [(b" " * 70_000, 200), (b"", 408)], ids=["at the rate", "below it"])
async def test_a_body_may_be_slow_as_long_as_it_keeps_the_rate(
    monkeypatch: pytest.MonkeyPatch, first: bytes, status: int
) -> None:
    """What came early buys time: 70 KB are four seconds at 16 KB/s."""
    monkeypatch.setattr(pace, "GRACE_S", 0.2)
    rest = b'{"language": "python", "code": ""}'
    async with Served(DEFAULT) as served:
        length = len(first) + len(rest)
        with served.connect(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n") as client:
            client.send(b"Content-Length: %d\r\n\r\n" % length + first)
            await asyncio.sleep(0.4)
            with contextlib.suppress(ConnectionError):
                client.send(rest)
            assert (await read(client)).startswith(b"HTTP/1.1 %d " % status)


@dataclasses.dataclass(eq=False)
class Peer:
    address: str
    is_many: bool = False
    waits: bool = True
    has_request: bool = False
    is_gone: bool = False

    @property
    def waits_for_request(self) -> bool:
        return self.waits and not self.has_request

    def give_way(self) -> None:
        self.is_gone = True

    expire = give_way


async def test_no_address_keeps_another_from_connecting() -> None:
    connections = Connections(dataclasses.replace(DEFAULT, in_all=10, of_address=4))
    greedy = [Peer(f"192.0.2.{number % 3}") for number in range(60)]
    assert all(connections.add(peer) for peer in greedy)
    assert connections.count == 10
    honest = Peer("198.51.100.1")
    assert connections.add(honest)
    assert not any(connections.add(Peer("192.0.2.1", waits=False)) and honest.is_gone for _ in range(10))
    assert connections.count == 10 and not honest.is_gone


async def test_an_address_that_stands_for_many_has_no_bound_of_its_own() -> None:
    connections = Connections(dataclasses.replace(DEFAULT, in_all=10, of_address=2))
    assert all(connections.add(Peer("unix", is_many=True, waits=False)) for _ in range(10))
    assert not connections.add(Peer("unix", is_many=True))
    assert not connections.add(Peer("192.0.2.1"))


async def test_whoever_just_had_an_answer_gives_way_after_those_that_wait_longer() -> None:
    connections = Connections(dataclasses.replace(DEFAULT, in_all=2))
    first, second = Peer("192.0.2.1"), Peer("192.0.2.1")
    for peer in (first, second):
        connections.add(peer)
    connections.begin()
    connections.end(first)
    connections.add(Peer("192.0.2.1"))
    assert (first.is_gone, second.is_gone) == (False, True)


async def test_whoever_sends_a_body_or_reads_an_answer_gives_way_after_those_without_a_request() -> None:
    connections = Connections(dataclasses.replace(DEFAULT, in_all=3))
    sends, first, second = Peer("unix", has_request=True), Peer("unix"), Peer("unix")
    for peer in (sends, first, second):
        connections.add(peer)
    for gone in ((False, True, False), (False, True, True)):
        assert connections.add(Peer("unix", waits=False))
        assert (sends.is_gone, first.is_gone, second.is_gone) == gone
    assert connections.add(Peer("unix", waits=False)) and sends.is_gone
