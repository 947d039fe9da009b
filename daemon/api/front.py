"""The front of the HTTP process: accepts connections, and at the end lets what has begun come to its end."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

BACKLOG = 1024  # listen(2) is called again, for all that share the socket
IDLE_S = 1.0  # an open connection without a request is closed so long after the end began
LOOK_S = 0.02
WRITE_S = 2.0  # for the last answers to be taken, and as much again for handlers to end once they are cancelled


class Front:
    """`open` to serve `app`, then `drain` once. Connections that nobody accepted wait in the listening sockets."""

    def __init__(self, app: web.Application) -> None:
        app.middlewares.insert(0, self._count)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=WRITE_S)
        self._servers: list[asyncio.Server] = []
        self._requests = 0
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Front: {self._requests} requests, {self._connections()} connections>"

    async def open(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections from all of the listening sockets, which it takes."""
        await self._runner.setup()
        loop, protocol = asyncio.get_running_loop(), self._runner.server
        assert protocol is not None
        for listener in listeners:
            is_unix = listener.family == socket.AF_UNIX
            create = loop.create_unix_server if is_unix else loop.create_server
            self._servers.append(await create(protocol, sock=listener, backlog=BACKLOG))

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Accept nothing more; answer what has begun, for at most so many seconds and until `hurry`; then cancel.

        Each connection ends with its next answer, which says so; one that is idle is closed after IDLE_S: its client
        may just have sent a request, and could not tell whether that was heard. Event streams go on to their end.
        """
        for server in self._servers:
            server.close()
        self._is_draining = True
        await self._until(lambda: not self._connections(), min(IDLE_S, seconds), hurry)
        await self._until(lambda: not self._requests, seconds - IDLE_S, hurry)
        await self._runner.cleanup()

    async def _until(self, condition: Callable[[], bool], seconds: float, hurry: asyncio.Event) -> None:
        """Or until the time is up. aiohttp announces the end of no connection, so it looks."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + seconds
        while not (condition() or hurry.is_set() or loop.time() >= deadline_s):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), LOOK_S)

    def _connections(self) -> int:
        return len(self._runner.server.connections) if self._runner.server else 0

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._requests += 1
        try:
            response = await handler(request)
        finally:
            self._requests -= 1
        if self._is_draining:
            response.force_close()
        return response
