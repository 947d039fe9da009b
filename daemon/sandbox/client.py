"""The HTTP side of the keeper's socket: acquire a jail, hand it its source, read its output, hear its outcome.

One `Client` per process, all calls on one event loop. It connects again by itself when the keeper comes back.
"""

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

from . import descriptors as fds
from . import messages, wire
from .dialogue import Dialogue
from .model import KilledBy
from .order import BadOrder, Finished, Order, SandboxUnavailable
from .outbox import Outbox
from .pumps import READ_BYTES, Drain, Feed, feed_of
from .running import Running

RECONNECT_S = 0.05
GRADED_ACQUIRE_S = 600.0  # for a graded run's core: there are others before it


class Client:
    """`async with Client(path, acquire_s) as client`; a run waits so long for its jail.

    `facts` is the keeper's hello, `state` its last stats; both are None while it is away. `state_s` is when those came
    (CLOCK_MONOTONIC seconds): a keeper that does not stand still tells them at least once a second.
    """

    def __init__(self, path: str, acquire_s: float) -> None:
        self._path, self._acquire_s = path, acquire_s
        self._socket: socket.socket | None = None
        self._runs: dict[int, Running] = {}
        self._ids = itertools.count(1)
        self._outbox: Outbox | None = None
        self._connector: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()  # of facts or state
        self.facts: messages.Hello | None = None
        self.state: messages.Stats | None = None
        self.state_s = 0.0

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

    def starting(self) -> int:
        """How many runs wait for a jail because the host is busy; graded ones wait for a core, and are not counted."""
        now_s = time.monotonic()
        return sum(run.waits_for_jail(now_s) for run in self._runs.values())

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
                self._runs[number].kill(KilledBy.CLIENT)

    def _hear(self, message: messages.Message, descriptors: list[int]) -> None:
        """Takes descriptors out of the list that it keeps."""
        match message:
            case messages.Hello():
                self.facts = message
            case messages.Stats():
                self.state, self.state_s = message, time.monotonic()
                self._changed.set()
            case messages.Started(number):
                if number in self._runs:
                    self._runs[number].hear_started(descriptors)
            case messages.Refused(number, stage, reason):
                if number in self._runs:
                    self._runs[number].fail(SandboxUnavailable(stage, reason))
            case messages.Ended(number):
                if len(message.left) != len(descriptors):
                    raise messages.BadMessage(f"{len(message.left)} files with {len(descriptors)} descriptors")
                if number in self._runs:
                    self._runs[number].hear_ended(message.outcome, message.left, descriptors)

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

        Raises SandboxUnavailable when no jail was to be had or when one was lost, BadOrder. Cancelling kills the run.
        """
        asked_ns = time.monotonic_ns()
        async with self.started(order) as running:
            acquire_ns = time.monotonic_ns() - asked_ns
            drain = Drain(
                self._loop, running.outputs, order.output_bytes, lambda: running.kill(KilledBy.OUTPUT),
                order.on_output, order.keeps, order.spare_bytes,
            )  # fmt: skip
            feed = _feed(self._loop, running, order)
            try:
                outcome, left = await running.ended(drain)
            finally:
                feed.close()
                drain.close()
        return Finished(
            outcome, drain.content("stdout"), drain.content("stderr"), drain.is_over, left, acquire_ns,
            tuple(drain.pieces),
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def opened(self, order: Order, on_end: Callable[[], None]) -> AsyncIterator[tuple[int, int]]:
        """A step that goes on: its stdin and stdout, the caller's to close, until the body ends and it is killed.

        What it says on stderr goes to `order.on_output`. Raises SandboxUnavailable when no jail was to be had.
        """
        async with self.started(order) as running:
            running.on_end(on_end)

            def hear() -> None:
                data = os.read(running.stderr, READ_BYTES)
                if not data:
                    self._loop.remove_reader(running.stderr)
                elif order.on_output is not None:
                    order.on_output("stderr", data)

            self._loop.add_reader(running.stderr, hear)
            try:
                yield running.stdin, running.stdout
            finally:
                self._loop.remove_reader(running.stderr)
                os.close(running.stderr)

    @contextlib.asynccontextmanager
    async def started(self, order: Order) -> AsyncIterator[Running]:
        """A run that has begun or is held; its three pipes are the caller's to close. Killed where the body ends first.

        Raises SandboxUnavailable when no jail was to be had.
        """
        number = next(self._ids)
        running = self._runs[number] = Running(self._loop, order, number, self._send)
        try:
            running.take_pipes(await self._start(number, running, order))
            yield running
        finally:
            if not running.has_ended:
                running.kill(KilledBy.CLIENT)
            del self._runs[number]
            running.close_unclaimed()

    async def _start(self, number: int, running: Running, order: Order) -> list[int]:
        """stdin, stdout and stderr of the jail, which goes as soon as it can, or is held.

        Raises SandboxUnavailable, BadOrder. A keeper that has not said hello is not one.
        """
        if self.facts is None:
            raise SandboxUnavailable("keeper", "not connected")
        message = messages.Run(
            number, order.toolchain, order.step, order.limits, order.args, order.files is not None,
            order.input is not None, order.graded, order.held, min(order.sharing, messages.SHARING_MAX), order.leaves,
        )  # fmt: skip
        with _given(order) as given:
            _check(message, len(given))
            self._send(message, given)
        patience_s = GRADED_ACQUIRE_S if order.graded else self._acquire_s
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(running.started)
        except TimeoutError:
            raise SandboxUnavailable("keeper", f"no jail within {patience_s:.0f} s") from None


def _feed(loop: asyncio.AbstractEventLoop, running: Running, order: Order) -> Feed | Dialogue:
    """What brings its input to a program."""
    if order.dialogue is None:
        return feed_of(loop, running.stdin, order.stdin)
    order.dialogue.begin(loop, running.stdin, running.signal)
    return order.dialogue


@contextlib.contextmanager
def _given(order: Order) -> Iterator[list[int]]:
    """Source, artefact, files and input; the last as nobody else has it open. Raises SandboxUnavailable."""
    given = [number for number in (order.source, order.artifact, order.files) if number is not None]
    if order.input is None:
        yield given
        return
    try:
        own = fds.reopened(order.input)
    except OSError as error:
        raise SandboxUnavailable("descriptors", str(error)) from error
    try:
        yield [*given, own]
    finally:
        os.close(own)


def _check(message: messages.Run, descriptors: int) -> None:
    """As the keeper will. Raises BadOrder."""
    try:
        messages.decode(message.encode(), descriptors, messages.TO_KEEPER)
    except (messages.BadMessage, ValueError) as error:
        raise BadOrder(f"a program cannot be run like this: {error}") from error


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
