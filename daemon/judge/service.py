"""A living compiler in a jail of its own that reads submissions and never runs one, such as the TypeScript checker.

It only makes things faster: a submission that gets no answer from it (it starts, it is busy with others for longer
than TURN_S, it missed its deadline, it has died, its answer is too long) is compiled in a jail of its own. So is what a
client sends that has kept others waiting for long: each of its submissions in which another client gave up waiting for
its turn counts for as long as it took, less a part of the time since then (OWED_S, FORGOTTEN). Frames are a length
(4 bytes, big endian) and JSON with an `id`, which the answer repeats; it says {"ready": true} once it is ready.
An answer has `diagnostics` and `code`, which is null where those stand in its way, and binary with an `encoding`
"base64". What is longer than DIAGNOSTICS_MAX or CODE_MAX characters the step itself does: its output has a limit, and
its artefact is a file, which this process does not hold in memory.
"""

import asyncio
import contextlib
import json
import os
import struct
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import cachetools
import structlog

from daemon.sandbox.client import Client
from daemon.sandbox.order import Order, SandboxUnavailable
from daemon.toolchain import plan
from daemon.toolchain.schema import SERVICE_STEP, ServiceEntry, Toolchain

log = structlog.get_logger("cellblock.service")

TURN_S = 0.1  # a compiler in a jail of its own takes about as long
OWED_S = 0.5  # beyond it a client is kept away; an everyday check takes 10 ms
FORGOTTEN = 1 / 30  # of the time: so much of it at most has whoever keeps others waiting
CLIENTS_MAX = 1000  # that are remembered for it
STARTS = 3  # it may take so many times as long as a jail to be ready
AGAIN_S, AGAIN_S_MAX = 0.1, 10.0
DIAGNOSTICS_MAX, CODE_MAX = 1 << 20, 4 << 20  # characters
REPLY_BYTES_MAX = 6 << 20  # of an answer that is read: both, and what JSON adds to them
FRAME_BYTES_MAX = 64 << 20  # a longer one is passed over; past this the service is at fault
PASSED_OVER_BYTES = 1 << 18  # at once
REQUESTS_MAX = 5000  # then it is replaced: compilers grow
LENGTH = struct.Struct(">I")


class Service:
    """`run` keeps one alive until cancelled; `ask` may be called by many at once, and answers one after the other.

    `starts` counts how often one has started.
    """

    def __init__(self, client: Client, toolchain: Toolchain, entry: ServiceEntry, start_s: float) -> None:
        self._client, self._toolchain, self._entry, self._start_s = client, toolchain, entry, start_s
        self._turn = asyncio.Lock()
        self._turn_of, self._kept_others_waiting = "", False
        self._owed: cachetools.LRUCache[str, tuple[float, float]] = cachetools.LRUCache(
            CLIENTS_MAX
        )  # seconds, and when
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._broken = asyncio.Event()
        self._asked = 0
        self._has_complained = False
        self.starts = 0

    def __repr__(self) -> str:
        return f"<Service {self._toolchain.id}: {'ready' if self.ready else 'away'}, {self._asked} asked>"

    @property
    def ready(self) -> bool:
        """True while there is one that has started."""
        return self._streams is not None

    async def ask(self, request: dict[str, Any], client: str) -> dict[str, Any] | None:
        """The answer, or None when there is none within TURN_S and the toolchain's `deadline_s` together.

        The turn is waited for no longer than TURN_S, whatever others ask. A caller that is cancelled leaves the service
        in step. `client` is who is kept away for a while where this takes long; with an empty one nobody is.
        """
        if self._streams is None or self._owed_s(client) > OWED_S:
            return None
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            self._kept_others_waiting |= client != self._turn_of
            return None
        self._turn_of, self._kept_others_waiting = client, False
        # A task of its own: the service stays busy until it answers, whether or not the caller is still there.
        return await asyncio.shield(asyncio.create_task(self._exchange_in_turn(request, client)))

    async def _exchange_in_turn(self, request: dict[str, Any], client: str) -> dict[str, Any] | None:
        """Holds the turn, which it gives back."""
        began_s = time.monotonic()
        try:
            if self._streams is None:
                return None
            async with asyncio.timeout(self._entry.deadline_s):
                answer = await _exchange(*self._streams, {"id": self._asked, **request})
            if answer is not None and answer.pop("id", None) != self._asked:
                raise ValueError("an answer to another request")
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            # The class alone: the text of a ValueError may hold the frame, and a frame holds somebody's source.
            log.warning("service replaced", language=self._toolchain.id, reason=type(error).__name__)
            self._break()
            return None
        finally:
            self._turn.release()
            if client and self._kept_others_waiting:
                now_s = time.monotonic()
                self._owed[client] = self._owed_s(client) + now_s - began_s, now_s
        self._asked += 1
        if self._asked >= REQUESTS_MAX:
            self._break()
        return None if answer is None or _is_long(answer) else answer

    def _owed_s(self, client: str) -> float:
        owed_s, then_s = self._owed.get(client, (0.0, 0.0))
        return max(0.0, owed_s - FORGOTTEN * (time.monotonic() - then_s))

    def _complain(self, _: str, data: bytes) -> None:
        """Notes that it spoke, once in its life, and never what it said: a compiler quotes the source."""
        if not self._has_complained:
            self._has_complained = True
            log.warning("service spoke on stderr", language=self._toolchain.id, bytes=len(data))

    def _break(self) -> None:
        self._streams = None
        self._broken.set()

    async def run(self) -> None:
        """Keep one alive: start it, wait until it is broken, start the next. Ends only by cancellation."""
        delay_s = AGAIN_S
        while True:
            try:
                await self._client.wait_ready(self._toolchain.id)
                async with self._started():
                    delay_s = AGAIN_S
                    await self._broken.wait()
            except (SandboxUnavailable, TimeoutError, OSError, EOFError, ValueError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # an error on the way out must not stand for the end
                    raise asyncio.CancelledError from error
                log.warning("service did not start", language=self._toolchain.id, reason=_reason(error))
                delay_s = min(2 * delay_s, AGAIN_S_MAX)
            await asyncio.sleep(delay_s)

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[None]:
        limits = plan.own_limits(self._entry.limits)
        order = Order(self._toolchain.id, SERVICE_STEP, limits, output_bytes=0, on_output=self._complain)
        async with self._client.opened(order, self._break) as (stdin, stdout), _streams(stdin, stdout) as streams:
            async with asyncio.timeout(STARTS * self._start_s):
                if await _read(streams[0]) != {"ready": True}:
                    raise ValueError("its first frame is not ready")
            self._broken.clear()
            self.starts += 1
            self._asked, self._has_complained, self._streams = 0, False, streams
            try:
                yield
            finally:
                self._streams = None


def _reason(error: Exception) -> str:
    """Of the sandbox the whole text, of anything else the class alone (it may quote what the service said)."""
    return str(error) if isinstance(error, SandboxUnavailable) else type(error).__name__


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: dict[str, Any]
) -> dict[str, Any] | None:
    if writer.is_closing():  # uvloop raises RuntimeError for a write then
        raise ConnectionResetError("the service is gone")
    body = json.dumps(request).encode()
    writer.write(LENGTH.pack(len(body)) + body)
    await writer.drain()
    return await _read(reader)


async def _read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next frame; None for one above REPLY_BYTES_MAX, of which nothing is kept. Raises EOFError, ValueError."""
    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes")
    if size > REPLY_BYTES_MAX:
        while size > 0:
            size -= len(await reader.readexactly(min(size, PASSED_OVER_BYTES)))
        return None
    answer = json.loads(await reader.readexactly(size))
    if not isinstance(answer, dict):
        raise ValueError("a frame that is not an object")
    return answer


def _is_long(answer: dict[str, Any]) -> bool:
    """More than a service may say of one submission."""
    lengths = {"diagnostics": DIAGNOSTICS_MAX, "code": CODE_MAX}
    return any(isinstance(text := answer.get(name), str) and len(text) > most for name, most in lengths.items())


@contextlib.asynccontextmanager
async def _streams(stdin: int, stdout: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Streams on the two pipes, which are closed whatever happens.

    A transport of uvloop closes the number that it was given, and some turns later: whatever else closed it too would
    close what has the number by then. So the file objects close nothing.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(reader)
    with contextlib.ExitStack() as unclaimed:
        unclaimed.callback(os.close, stdin)
        source = os.fdopen(stdout, "rb", 0, closefd=False)
        sink = os.fdopen(stdin, "wb", 0, closefd=False)
        try:
            incoming, _ = await loop.connect_read_pipe(lambda: protocol, source)
        except asyncio.CancelledError:  # the transport has closed it
            raise
        except BaseException:
            os.close(stdout)
            raise
        try:
            try:
                outgoing, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sink)
            except asyncio.CancelledError:  # likewise
                unclaimed.pop_all()
                raise
            unclaimed.pop_all()
            try:
                yield reader, asyncio.StreamWriter(outgoing, flow, reader, loop)
            finally:
                outgoing.abort()
        finally:
            incoming.close()


@contextlib.asynccontextmanager
async def keep_services(
    client: Client, toolchains: Iterable[Toolchain], start_s: float
) -> AsyncIterator[dict[str, Service]]:
    """The services of all toolchains that have one, by toolchain id, running in the background."""
    services = {
        toolchain.id: Service(client, toolchain, toolchain.service, start_s)
        for toolchain in toolchains
        if toolchain.service is not None
    }
    tasks = [asyncio.create_task(service.run()) for service in services.values()]
    try:
        yield services
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
