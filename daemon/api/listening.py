"""aiohttp's server, with connections that are bounded and requests that are observed; what is no HTTP gets a problem,
and no body is decompressed.

aiohttp itself would log a traceback for each request that it cannot read, with what was in it, and answer plain text.
A request ends, in the log as for whoever drains the process, when the last byte of its answer is in the kernel's hands:
with a write buffer of 0 bytes aiohttp waits for that. Of two fields Content-Encoding aiohttp obeys the last, whatever
the first says, so it decompresses nothing here.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import StreamReader, web

from . import errors, unread
from . import note as notes
from .client import CLIENT, Addresses
from .connections import Connections
from .errors import RETRY_AFTER_S, ApiProblem
from .observer import Observer

PIECE_BYTES = 16 << 10
HEAD_BYTES_MAX = 2 * PIECE_BYTES  # nginx allows as much in all
FRAMES_PART = 2  # a chunked body comes in at most so many times its bytes; each chunk costs as much as 1000 bytes
AHEAD_MAX = 2  # requests that a connection may have sent before the one under way is answered; more are not read
TRUNCATE = struct.pack("ii", 1, 0)  # SO_LINGER: the kernel forgets what was not taken (socket(7))


class Runner(web.AppRunner):
    """An AppRunner whose connections are counted in `connections`, and whose requests are observed."""

    def __init__(
        self, app: web.Application, observer: Observer, connections: Connections, addresses: Addresses, **options: Any
    ) -> None:
        super().__init__(app, access_log=None, auto_decompress=False, **options)
        self._parts = observer, connections, addresses

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, *self._parts)


class _Server(web.Server):
    """As the one that it is made from."""

    def __init__(self, made: web.Server, observer: Observer, connections: Connections, addresses: Addresses) -> None:
        super().__init__(
            made.request_handler, request_factory=made.request_factory, handler_cancellation=made.handler_cancellation,
            loop=made._loop, **made._kwargs,
        )  # fmt: skip
        self.observer, self.our_connections, self.addresses = observer, connections, addresses

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(web.RequestHandler):
    """A connections.Peer, and an unread.Writer while its answer is not read."""

    __slots__ = (
        "_answer", "_body", "_body_bytes", "_connections", "_head_bytes", "_observer", "_pause", "_queued", "_refusal",
        "_request", "_server", "_unwanted", "address", "is_many",
    )  # fmt: skip

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server, self._observer, self._connections = server, server.observer, server.our_connections
        self._request: web.BaseRequest | None = None
        self._answer: web.StreamResponse | None = None
        self._refusal: tuple[int, int] | None = None  # status and bytes of an answer that no handler gave
        self._body: StreamReader | None = None
        self._unwanted: tuple[StreamReader, str] | None = None  # a body whose request is answered, and of which client
        self._pause: asyncio.TimerHandle | None = None  # nothing is read before
        self._queued = self._head_bytes = self._body_bytes = 0
        self.address, self.is_many = "", False
        self._max_msg_queue_size, self._msg_queue_resume_size = AHEAD_MAX, AHEAD_MAX - 1

    # -- a connection begins and ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Or is refused: then aiohttp never hears of it."""
        writing = cast(asyncio.Transport, transport)
        self.address, self.is_many = self._server.addresses.of_connection(transport.get_extra_info("peername"))
        if self._connections.add(self):
            writing.set_write_buffer_limits(0)
            super().connection_made(transport)
            return
        self.transport, self._manager = writing, None
        detail = "There are as many connections as may be, and each is busy; try again"
        self._refuse(ApiProblem(503, "too_many_connections", detail, retry_after_s=RETRY_AFTER_S))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Whatever it held is free."""
        self._connections.remove(self)
        self._connections.unread.drop(self)
        if self._pause is not None:
            self._pause.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, parsed a few at a time: before many of a kind are parsed that is refused, it is."""
        if self._unwanted is not None and data:
            self._read_later(*self._unwanted, len(data))
        if len(data) <= PIECE_BYTES:
            self._parse(data)
            return
        for start in range(0, len(data), PIECE_BYTES):
            self._parse(data[start : start + PIECE_BYTES])  # nothing, once the connection is closed

    def _read_later(self, body: StreamReader, client: str, size: int) -> None:
        if body.is_eof() or self._pause is not None:
            return
        now_s = self._loop.time()
        self._pause_transport_reading()
        self._pause = self._loop.call_at(now_s + self._connections.unwanted.pause_s(client, size, now_s), self._read_on)

    def _read_on(self) -> None:
        self._pause = None
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        """Not while an unwanted body is read slowly."""
        if self._pause is None:
            super()._resume_transport_reading()

    def _parse(self, data: bytes) -> None:
        """What surrounds content is bounded: headers, and the frames of a chunked body (RFC 9112, 7.1)."""
        is_head = not self._request_count or (self._waiter is not None and not self._waiter.done())
        super().data_received(data)
        body = self._messages[-1][1] if self._messages else None
        if body is not None and (is_head or body is not self._body):
            self._body, self._head_bytes, self._body_bytes = body, 0, 0
        elif is_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(ApiProblem(400, "bad_http", f"The headers are above {HEAD_BYTES_MAX} bytes"))
        elif self._body is not None:
            self._body_bytes += len(data)
            bytes_max = FRAMES_PART * self._body.total_bytes + PIECE_BYTES
            if self._body_bytes > bytes_max and not (self._reading_paused or self._body.is_eof()):  # all is parsed
                self._refuse(ApiProblem(400, "bad_http", "The body comes in chunks that are too small"))

    def _refuse(self, problem: ApiProblem) -> None:
        """Answer, outside of any handler, and close. No answer where one has begun."""
        if self.transport is None:
            return
        if self._request is None:
            note = notes.of_nobody(problem.code)
            answer = _raw(problem, note.request_id)
            self.transport.write(answer)
            self._observer.end_unread(note, problem.status, self.client, len(answer))
        else:
            note = self._observer.note_of(self._request)
            note.code = problem.code
            if not self._request.writer.output_size:
                answer = _raw(problem, note.request_id)
                self.transport.write(answer)
                self._refusal = problem.status, len(answer)
        self.force_close()

    # -- what Connections wants to know and do

    @property
    def waits_for_request(self) -> bool:
        """Nothing of it is being answered."""
        return self._request is None

    @property
    def waits(self) -> bool:
        """No complete request of it is here, or its answer is not read."""
        return self._request is None or self._paused or not self._request.content.is_eof()

    def give_way(self) -> None:
        """Ends at once."""
        self._cut("too_many_connections")

    def expire(self) -> None:
        """Whoever sent a part of a request is told."""
        if self._head_bytes:
            self._refuse(ApiProblem(408, "request_timeout", "The request's headers did not arrive in time"))
        else:
            self.force_close()

    def _cut(self, code: str) -> None:
        """Its request, if one is under way, is told in the log with this code."""
        if self._request is None:
            self._observer.cut(code)
        else:
            self._observer.note_of(self._request).code = code
        self._loop.call_soon(self._abort if self._request else self.force_close)  # it may be in the midst of writing

    def _abort(self) -> None:
        if self.transport is not None:
            self._socket(self.transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, TRUNCATE)
            self.transport.abort()

    # -- what Unread wants to know and do

    @property
    def client(self) -> str:
        """As Client.name: whose share its unread answer counts to, and who asked, for the log."""
        known = None if self._request is None else self._request.get(CLIENT)
        return f"address {self.address}" if known is None else known.name

    def unread_bytes(self) -> int:
        """What is here still, the events of a stream included."""
        return self._queued + (0 if self.transport is None else self.transport.get_write_buffer_size())

    def taken_bytes(self) -> int:
        """What was written, without what is here or in our kernel's buffer (SIOCOUTQ, tcp(7), unix(7))."""
        written = 0 if self._request is None else self._request.writer.output_size
        if self.transport is None:
            return written
        counted = fcntl.ioctl(self._socket(self.transport).fileno(), termios.TIOCOUTQ, bytes(4))
        in_kernel = int.from_bytes(counted, sys.byteorder)
        return written - in_kernel - self.transport.get_write_buffer_size()

    def cut(self) -> None:
        """Its reader takes too little: ends at once."""
        self._cut(unread.CODE)

    def queue(self, size: int) -> None:
        """So many bytes of events wait to be written, or no more if it is negative."""
        self._queued += size
        if self._paused:
            self._connections.unread.hold(self, self._loop.time())

    def pause_writing(self) -> None:
        """Not all of what was written went into the kernel's buffer."""
        super().pause_writing()
        self._connections.unread.hold(self, self._loop.time())

    def resume_writing(self) -> None:
        """All of it did."""
        super().resume_writing()
        self._connections.unread.drop(self)

    @staticmethod
    def _socket(transport: asyncio.Transport) -> socket.socket:
        return cast(socket.socket, transport.get_extra_info("socket"))

    # -- a request begins and ends

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:  # fmt: skip
        """From its headers until its answer is sent, or nobody takes it any more."""
        self._request, self._answer, self._unwanted = request, None, None
        self._connections.begin()
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            self._connections.end(self)
            self._observer.end(request, self._observer.note_of(request), self._sent(), self.client)
            self._unwanted = None if request.content.is_eof() else (request.content, self.client)
            self._request = self._answer = self._refusal = None
            self._queued = 0

    def _sent(self) -> tuple[int, int] | None:
        """The status of the answer, and its bytes; None: there was none."""
        return self._refusal or (None if self._answer is None else (self._answer.status, self._answer.body_length))

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Any:  # a coroutine, as aiohttp's
        """Send what is left of the answer."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            self._observer.note_of(request)
            resp = errors.of_aiohttp(resp, request)
        self._answer = resp
        if self._connections.is_draining:
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to bytes that are no HTTP request, and to a defect outside of every middleware. It closes the
        connection. Raises ConnectionError where an answer has begun."""
        note = self._observer.note_of(request)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= 500 and isinstance(exc, Exception):
            problem = errors.of(exc, request)
        else:
            what = type(exc).__name__ if exc is not None else "unreadable"  # its text quotes the request
            problem = ApiProblem(status, "bad_http", f"This is not a readable HTTP request ({what})")
            note.code = problem.code
        answer = errors.response(problem)
        answer.headers[notes.REQUEST_ID] = note.request_id
        answer.force_close()
        return answer


def _raw(problem: ApiProblem, request_id: str) -> bytes:
    """The whole answer to somebody who has sent no request that could be answered."""
    body = errors.body(problem).encode()
    retry = "" if problem.retry_after_s is None else f"Retry-After: {problem.retry_after_s}\r\n"
    return (
        f"HTTP/1.1 {problem.status} {errors.TITLES[problem.status]}\r\nContent-Type: {errors.CONTENT_TYPE}\r\n{retry}"
        f"{notes.REQUEST_ID}: {request_id}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body
