"""The HTTP side of the keeper's socket: acquire a jail, hand it its source, read its output, hear its outcome.

One `Client` per process, all calls on one event loop. It connects again by itself when the keeper comes back.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable

from . import descriptors as fds
from . import messages, wire
from .model import KilledBy, Outcome
from .order import Finished, Order, SandboxUnavailable
from .outbox import Outbox
from .pumps import READ_BYTES, Drain, Feed, FileFeed

RECONNECT_S = 0.05
GRADED_ACQUIRE_S = 600.0  # for a graded run's core: there are others before it
END_S = 30.0  # after the wall limit, for the end to be told: the keeper has deadlines of its own


class _Run:
    """One run in flight: futures that the socket's reader resolves. `started` is its three pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.started: asyncio.Future[list[int]] = loop.create_future()
        self.ended: asyncio.Future[tuple[Outcome, dict[int, int]]] = loop.create_future()
        self.are_pipes_taken = self.is_left_taken = False

    def fail(self, error: Exception) -> None:
        for future in (self.started, self.ended):
            if not future.done():
                future.set_exception(error)
                future.exception()  # not every run waits for both; asyncio would complain of the other

    def close_unclaimed(self) -> None:
        """Close descriptors that came for a run which nobody waits for any more."""
        if not self.are_pipes_taken and self.started.done() and self.started.exception() is None:
            fds.close_all(self.started.result())
        if not self.is_left_taken and self.ended.done() and self.ended.exception() is None:
            fds.close_all(self.ended.result()[1].values())


class Client:
    """`async with Client(path, acquire_s) as client`; a run waits so long for its jail.

    `facts` is the keeper's hello, `state` its last stats; both are None while it is away.
    """

    def __init__(self, path: str, acquire_s: float) -> None:
        self._path, self._acquire_s = path, acquire_s
        self._socket: socket.socket | None = None
        self._runs: dict[int, _Run] = {}
        self._ids = itertools.count(1)
        self._outbox: Outbox | None = None
        self._connector: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()  # of facts or state
        self.facts: messages.Hello | None = None
        self.state: messages.Stats | None = None

    def __repr__(self) -> str:
        return f"<Client {self._path}: {'connected' if self._socket else 'away'}, {len(self._runs)} runs>"

    async def __aenter__(self) -> "Client":
        self._loop = asyncio.get_running_loop()
        self._connector = self._loop.create_task(self._keep_connected())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._connector is not None
        self._connector.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connector
        self._disconnect("closed")

    async def _keep_connected(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # the keeper is away, or there is no descriptor for a socket
                self._connect()
                await self._gone.wait()
            await asyncio.sleep(RECONNECT_S)  # the keeper's socket has no "is back" event

    def _connect(self) -> None:
        sock = _connected(self._path)
        self._socket, self._outbox = sock, Outbox(sock)
        self._gone.clear()
        self._loop.add_reader(sock, self._receive)

    def _disconnect(self, reason: str) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._socket = None
        if self._outbox is not None:
            self._outbox.clear()
            self._outbox = None
        self.facts = self.state = None
        self._changed.set()
        for run in self._runs.values():
            run.fail(SandboxUnavailable("keeper", reason))
        self._gone.set()

    async def wait_ready(self, toolchain: str) -> None:
        """Until the keeper is there and says that the toolchain's warden is ready."""
        while self.wardens().get(toolchain) != "ready":
            self._changed.clear()
            await self._changed.wait()

    def wardens(self) -> dict[str, str]:
        """What the keeper says of each toolchain's wardens; empty while it is away."""
        return {} if self.state is None else dict(self.state.wardens)

    # -- messages

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            received = wire.receive(self._socket)
        except BlockingIOError:
            return
        except wire.NoDescriptors as error:
            self._lose(error.data)
            return
        except (OSError, messages.BadMessage) as error:
            self._disconnect(str(error))
            return
        if received is None:
            self._disconnect("the keeper ended")
            return
        data, descriptors = received
        try:
            self._hear(messages.decode(data, len(descriptors), messages.TO_HTTP), descriptors)
        except messages.BadMessage as error:
            self._disconnect(str(error))
        finally:
            fds.close_all(descriptors)

    def _lose(self, data: bytes) -> None:
        """A message whose descriptors this process had no room for: its run is lost, and no other."""
        try:
            message = messages.decode(data, None, messages.TO_HTTP)
        except messages.BadMessage as error:
            self._disconnect(str(error))
            return
        match message:
            case messages.Started(number) | messages.Ended(number) if number in self._runs:
                self._runs[number].fail(SandboxUnavailable("descriptors", "none is left"))
                with contextlib.suppress(SandboxUnavailable):
                    self._send(messages.Kill(number, KilledBy.CLIENT))

    def _hear(self, message: messages.Message, descriptors: list[int]) -> None:
        """Takes descriptors out of the list that it keeps."""
        match message:
            case messages.Hello():
                self.facts = message
            case messages.Stats():
                self.state = message
                self._changed.set()
            case messages.Started(number):
                run = self._runs.get(number)
                if run is not None and not run.started.done():
                    run.started.set_result(list(descriptors))
                    descriptors.clear()
            case messages.Refused(number, stage, reason):
                if number in self._runs:
                    self._runs[number].fail(SandboxUnavailable(stage, reason))
            case messages.Ended(number):
                if len(message.left) != len(descriptors):
                    raise messages.BadMessage(f"{len(message.left)} files with {len(descriptors)} descriptors")
                run = self._runs.get(number)
                if run is not None and not run.ended.done():
                    run.ended.set_result((message.outcome, dict(zip(message.left, descriptors, strict=True))))
                    descriptors.clear()

    def _send(self, message: messages.Message, descriptors: list[int] | None = None) -> None:
        """Now or, with copies of the descriptors, as soon as there is room. Raises SandboxUnavailable."""
        if self._socket is None or self._outbox is None:
            raise SandboxUnavailable("keeper", "not connected")
        try:
            self._outbox.send(message.encode(), descriptors or [])
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):  # those are this message's alone
                self._disconnect(str(error))
            raise SandboxUnavailable("keeper", str(error)) from error
        if self._outbox.is_waiting:
            self._loop.add_writer(self._socket, self._flush)

    def _flush(self) -> None:
        assert self._socket is not None
        assert self._outbox is not None
        try:
            self._outbox.flush()
        except OSError as error:
            self._disconnect(str(error))
            return
        if not self._outbox.is_waiting:
            self._loop.remove_writer(self._socket)

    # -- runs

    async def run(self, order: Order) -> Finished:
        """Run one step in a fresh jail.

        Raises SandboxUnavailable when no jail was to be had or when one was lost. Cancelling kills the run.
        """
        async with self._registered() as (number, run):
            stdin, stdout, stderr = await self._start(number, run, order)
            run.are_pipes_taken = True

            def on_over() -> None:
                with contextlib.suppress(SandboxUnavailable):
                    self._send(messages.Kill(number, KilledBy.OUTPUT))

            drain = Drain(self._loop, stdout, stderr, order.output_bytes, on_over, order.on_output, order.keeps)
            feed = (FileFeed if isinstance(order.stdin, int) else Feed)(self._loop, stdin, order.stdin)  # type: ignore[arg-type]
            try:
                async with asyncio.timeout(order.limits.wall_ns / 1e9 + END_S):
                    outcome, left = await asyncio.shield(run.ended)
                    await drain.ended()
            except SandboxUnavailable as error:
                raise SandboxUnavailable(error.stage, error.reason, True, drain.is_heard) from error
            except TimeoutError as error:
                raise SandboxUnavailable("keeper", "it does not tell of an end", True, drain.is_heard) from error
            finally:
                feed.close()
                drain.close()
            run.is_left_taken = True
        if outcome.killed_by in (KilledBy.LOST, KilledBy.CLIENT):
            fds.close_all(left.values())
            reason = f"{order.toolchain}/{order.step}: the jail went away"
            raise SandboxUnavailable("lost", reason, True, drain.is_heard)
        return Finished(outcome, drain.content("stdout"), drain.content("stderr"), drain.is_over, left)

    @contextlib.asynccontextmanager
    async def opened(self, order: Order, on_end: Callable[[], None]) -> AsyncIterator[tuple[int, int]]:
        """A step that goes on: its stdin and stdout, the caller's to close, until the body ends and it is killed.

        What it says on stderr goes to `order.on_output`. Raises SandboxUnavailable when no jail was to be had.
        """
        async with self._registered() as (number, run):
            stdin, stdout, stderr = await self._start(number, run, order)
            run.are_pipes_taken = True
            run.ended.add_done_callback(lambda _: on_end())

            def hear() -> None:
                data = os.read(stderr, READ_BYTES)
                if not data:
                    self._loop.remove_reader(stderr)
                elif order.on_output is not None:
                    order.on_output("stderr", data)

            self._loop.add_reader(stderr, hear)
            try:
                yield stdin, stdout
            finally:
                self._loop.remove_reader(stderr)
                os.close(stderr)

    async def _start(self, number: int, run: _Run, order: Order) -> list[int]:
        """stdin, stdout and stderr of the jail, which goes as soon as there is one. Raises SandboxUnavailable.

        A keeper that has not said hello is not one.
        """
        if self.facts is None:
            raise SandboxUnavailable("keeper", "not connected")
        given = [number for number in (order.source, order.artifact, order.files) if number is not None]
        message = messages.Run(
            number, order.toolchain, order.step, order.limits, order.args, order.files is not None, order.graded
        )
        self._send(message, given)
        patience_s = GRADED_ACQUIRE_S if order.graded else self._acquire_s
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(run.started)
        except TimeoutError:
            raise SandboxUnavailable("keeper", f"no jail within {patience_s:.0f} s") from None

    @contextlib.asynccontextmanager
    async def _registered(self) -> AsyncIterator[tuple[int, _Run]]:
        number, run = next(self._ids), _Run(self._loop)
        self._runs[number] = run
        try:
            yield number, run
        finally:
            if not run.ended.done():
                with contextlib.suppress(SandboxUnavailable):
                    self._send(messages.Kill(number, KilledBy.CLIENT))
            del self._runs[number]
            run.close_unclaimed()


def _connected(path: str) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
