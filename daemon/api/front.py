"""The front of the HTTP process: accepts connections, and at the end lets what has begun come to its end."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from .client import Addresses
from .connections import Connections, Limits
from .listening import Runner
from .observer import Observer
from .unwanted import READ_FOR_S

BACKLOG = 1024  # listen(2) is called again, for all that share the socket
IDLE_S = 1.0  # an open connection without a request is closed so long after the end began
LOOK_S = 0.02
WRITE_S = 2.0  # for the last answers to be taken, and as much again for handlers to end once they are cancelled


class Front:
    """`open` to serve `app`, then `drain` once. Connections that nobody accepted wait in the listening sockets.

    `limits` bounds the connections; `trusted_proxies` are networks, or "unix", whose addresses stand for many clients.
    """

    def __init__(
        self, app: web.Application, observer: Observer, limits: Limits, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self.connections = Connections(limits)
        self._runner = Runner(
            app, observer, self.connections, Addresses(trusted_proxies),
            handler_cancellation=True, shutdown_timeout=WRITE_S, lingering_time=READ_FOR_S,
        )  # fmt: skip
        self._servers: list[asyncio.Server] = []

    def __repr__(self) -> str:
        return f"<Front: {self.connections}>"

    async def open(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections from all of the listening sockets, which it takes."""
        await self._runner.setup()
        loop: Any = asyncio.get_running_loop()  # uvloop's stubs do not know cleanup_socket
        protocol = self._runner.server
        assert protocol is not None
        self.connections.watch()
        for listener in listeners:
            if listener.family == socket.AF_UNIX:  # its path is systemd's, or that of the next process too
                server = await loop.create_unix_server(protocol, sock=listener, backlog=BACKLOG, cleanup_socket=False)
            else:
                server = await loop.create_server(protocol, sock=listener, backlog=BACKLOG)
            self._servers.append(server)

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Accept nothing more; answer what has begun, for at most so many seconds and until `hurry`; then cancel.

        Each connection ends with its next answer, which says so; one that is idle is closed after IDLE_S: its client
        may just have sent a request, and could not tell whether that was heard. Event streams go on to their end. A
        request counts until its reader has the whole answer, or is cut (unread.py).
        """
        for server in self._servers:
            server.close()
        self.connections.is_draining = True
        await self._until(lambda: not self.connections.count, min(IDLE_S, seconds), hurry)
        await self._until(lambda: not self.connections.busy, seconds - IDLE_S, hurry)
        await self._runner.cleanup()
        self.connections.close()

    async def _until(self, condition: Callable[[], bool], seconds: float, hurry: asyncio.Event) -> None:
        """Or until the time is up. aiohttp announces the end of no connection, so it looks."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + seconds
        while not (condition() or hurry.is_set() or loop.time() >= deadline_s):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), LOOK_S)
