"""The HTTP side of the keeper's socket: acquire a jail, hand it its source, read its output, hear its outcome.

One `Client` per process, all calls on one event loop. It connects again by itself when the keeper comes back.
"""

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from . import wire
from .model import KilledBy, Limits, Outcome, Usage

log = logging.getLogger("cellblock.sandbox")

RECONNECT_S = 0.05
READ_BYTES = 64 << 10

OnOutput = Callable[[str, bytes], None]


class SandboxUnavailable(Exception):
    """A run could not be had, or was lost, for a reason of ours. `stage` and `reason` are for the log.

    `started`: the program may have begun to run. `streamed`: somebody has heard of its output, so it must not be
    repeated.
    """

    def __init__(self, stage: str, reason: str, started: bool = False, streamed: bool = False) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage, self.reason, self.started, self.streamed = stage, reason, started, streamed


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What is run: descriptors are borrowed until `Client.run` returns."""

    toolchain: str
    step: str
    limits: Limits
    output_bytes: int
    source: int | None = None
    artifact: int | None = None
    files: int | None = None  # packed (judge/files.py)
    stdin: bytes = b""
    payload: str = "{}"
    on_output: OnOutput | None = None  # hears stdout and stderr as they come, besides


@dataclasses.dataclass(slots=True)
class Finished:
    """How it went. `artifact` is the caller's to close. `truncated`: there was more output than `output_bytes`."""

    outcome: Outcome
    stdout: bytes
    stderr: bytes
    truncated: bool
    artifact: int | None


class _Run:
    """One run in flight: futures that the socket's reader resolves, and the output read so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop, output_bytes: int) -> None:
        self.acquired: asyncio.Future[list[int]] = loop.create_future()
        self.ended: asyncio.Future[tuple[Outcome, int | None]] = loop.create_future()
        self.drained = asyncio.Event()
        self.output: tuple[list[bytes], list[bytes]] = ([], [])
        self.room = output_bytes
        self.over = self.heard = False
        self.pipes_taken = self.claimed = False
        self.open: set[int] = set()

    def fail(self, error: Exception) -> None:
        for future in (self.acquired, self.ended):
            if not future.done():
                future.set_exception(error)
                future.exception()  # not every run waits for both; asyncio would complain of the other

    def close_unclaimed(self) -> None:
        """Close descriptors that came for a run which nobody waits for any more."""
        if not self.pipes_taken and self.acquired.done() and self.acquired.exception() is None:
            wire.close_all(self.acquired.result())
        if not self.claimed and self.ended.done() and self.ended.exception() is None:
            artifact = self.ended.result()[1]
            if artifact is not None:
                os.close(artifact)


class Client:
    """`async with Client(path, acquire_s) as client`; a run waits so long for its jail.

    `facts` is the keeper's hello, `state` its last stats; both are {} while it is away.
    """

    def __init__(self, path: str, acquire_s: float) -> None:
        self._path, self._acquire_s = path, acquire_s
        self._socket: socket.socket | None = None
        self._runs: dict[int, _Run] = {}
        self._ids = itertools.count(1)
        self._unsent: collections.deque[tuple[wire.Message, tuple[int, ...]]] = collections.deque()
        self._connector: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()  # of facts or state
        self.facts: dict[str, Any] = {}
        self.state: dict[str, Any] = {}

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
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.setblocking(False)
            try:
                sock.connect(self._path)
            except OSError:
                sock.close()
                await asyncio.sleep(RECONNECT_S)  # the keeper's socket has no "is back" event
                continue
            self._socket = sock
            self._gone.clear()
            self._loop.add_reader(sock, self._receive)
            await self._gone.wait()
            await asyncio.sleep(RECONNECT_S)

    def _disconnect(self, reason: str) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._socket = None
        for _, descriptors in self._unsent:
            wire.close_all(descriptors)
        self._unsent.clear()
        self.facts, self.state = {}, {}
        self._changed.set()
        for run in self._runs.values():
            run.fail(SandboxUnavailable("keeper", reason))
        self._gone.set()

    async def wait_ready(self, toolchain: str) -> None:
        """Until the keeper is there and says that the toolchain's warden is ready."""
        while self.state.get("wardens", {}).get(toolchain) != "ready":
            self._changed.clear()
            await self._changed.wait()

    # -- messages

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            received = wire.receive(self._socket)
        except BlockingIOError:
            return
        except (OSError, wire.BadMessage) as error:
            self._disconnect(str(error))
            return
        if received is None:
            self._disconnect("the keeper ended")
            return
        message, descriptors = received
        run = self._runs.get(message.get("run", -1))
        match message["type"]:
            case "hello":
                self.facts = message
            case "stats":
                self.state = message
                self._changed.set()
            case "acquired" if run is not None and not run.acquired.done():
                run.acquired.set_result(descriptors)
                return
            case "refused" if run is not None:
                run.fail(SandboxUnavailable(message["stage"], message["reason"]))
            case "outcome" if run is not None and not run.ended.done():
                run.ended.set_result((_outcome(message), descriptors.pop() if descriptors else None))
        wire.close_all(descriptors)

    def _send(self, message: wire.Message, descriptors: tuple[int, ...] = ()) -> None:
        if self._socket is None:
            raise SandboxUnavailable("keeper", "not connected")
        if not self._unsent:
            try:
                wire.send(self._socket, message, descriptors)
                return
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
            except OSError as error:
                self._disconnect(str(error))
                raise SandboxUnavailable("keeper", str(error)) from error
        self._unsent.append((message, tuple(os.dup(descriptor) for descriptor in descriptors)))

    def _flush(self) -> None:
        assert self._socket is not None
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                wire.send(self._socket, message, descriptors)
            except BlockingIOError:
                return
            except OSError as error:
                self._disconnect(str(error))
                return
            wire.close_all(descriptors)
            self._unsent.popleft()
        self._loop.remove_writer(self._socket)

    # -- runs

    async def run(self, order: Order) -> Finished:
        """Run one step in a fresh jail.

        Raises SandboxUnavailable when no jail was to be had or when one was lost. Cancelling kills the run.
        """
        async with self._registered(order.output_bytes) as (number, run):
            pipes = await self._acquire(number, run, order)
            with contextlib.ExitStack() as stack:
                run.pipes_taken = True
                self._drain(number, run, pipes[1:], order.on_output, stack)
                self._feed(pipes[0], order.stdin, stack)
                try:
                    await asyncio.shield(run.ended)
                except SandboxUnavailable as error:
                    raise SandboxUnavailable(error.stage, error.reason, True, run.heard) from error
                await run.drained.wait()
            outcome, artifact = run.ended.result()
            run.claimed = True
        if outcome.killed_by in (KilledBy.LOST, KilledBy.CLIENT):
            if artifact is not None:
                os.close(artifact)
            reason = f"{order.toolchain}/{order.step}: the jail went away"
            raise SandboxUnavailable("lost", reason, True, run.heard)
        stdout, stderr = (b"".join(chunks) for chunks in run.output)
        return Finished(outcome, stdout, stderr, run.over, artifact)

    @contextlib.asynccontextmanager
    async def opened(self, order: Order, on_end: Callable[[], None]) -> AsyncIterator[tuple[int, int]]:
        """A step that goes on: its stdin and stdout, the caller's to close, until the body ends and it is killed.

        What it says on stderr goes to `order.on_output`. Raises SandboxUnavailable when no jail was to be had.
        """
        async with self._registered(order.output_bytes) as (number, run):
            stdin, stdout, stderr = await self._acquire(number, run, order)
            run.pipes_taken = True
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

    async def _acquire(self, number: int, run: _Run, order: Order) -> list[int]:
        """stdin, stdout and stderr of the jail, which goes as soon as there is one.

        A keeper that has not said hello is not one.
        """
        if not self.facts:
            raise SandboxUnavailable("keeper", "not connected")
        given = (order.source, order.artifact, order.files)
        descriptors = tuple(descriptor for descriptor in given if descriptor is not None)
        limits = dataclasses.asdict(order.limits)
        self._send({
            "type": "acquire", "run": number, "toolchain": order.toolchain, "step": order.step, "limits": limits,
            "payload": order.payload, "files": order.files is not None,
        }, descriptors)  # fmt: skip
        try:
            async with asyncio.timeout(self._acquire_s):
                return await asyncio.shield(run.acquired)
        except TimeoutError:
            raise SandboxUnavailable("keeper", f"no jail within {self._acquire_s:.0f} s") from None

    @contextlib.asynccontextmanager
    async def _registered(self, output_bytes: int) -> AsyncIterator[tuple[int, _Run]]:
        number, run = next(self._ids), _Run(self._loop, output_bytes)
        self._runs[number] = run
        try:
            yield number, run
        finally:
            if not run.ended.done():
                with contextlib.suppress(SandboxUnavailable):
                    self._send({"type": "kill", "run": number, "why": KilledBy.CLIENT})
            del self._runs[number]
            run.close_unclaimed()

    def _drain(
        self, number: int, run: _Run, pipes: list[int], on_output: OnOutput | None, stack: contextlib.ExitStack
    ) -> None:
        """Read both pipes whenever they have something, for as long as the jail holds their other ends."""
        run.open = set(pipes)

        def close(descriptor: int) -> None:
            if descriptor in run.open:
                run.open.discard(descriptor)
                self._loop.remove_reader(descriptor)
                os.close(descriptor)
                if not run.open:
                    run.drained.set()

        def ready(descriptor: int, name: str, chunks: list[bytes]) -> None:
            try:
                data = os.read(descriptor, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                close(descriptor)
                return
            kept = data[: run.room]
            run.room -= len(kept)
            if kept:
                chunks.append(kept)
                if on_output is not None:
                    run.heard = True
                    on_output(name, kept)
            if len(kept) < len(data) and not run.over:
                run.over = True
                with contextlib.suppress(SandboxUnavailable):
                    self._send({"type": "kill", "run": number, "why": KilledBy.OUTPUT})

        for descriptor, name, chunks in zip(pipes, ("stdout", "stderr"), run.output, strict=True):
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, ready, descriptor, name, chunks)
            stack.callback(close, descriptor)

    def _feed(self, pipe: int, data: bytes, stack: contextlib.ExitStack) -> None:
        """Write all of stdin as the program reads it, then close; one that does not read it is not our affair."""
        rest = memoryview(data)
        is_open = True

        def close() -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                self._loop.remove_writer(pipe)
                os.close(pipe)

        def ready() -> None:
            nonlocal rest
            try:
                while rest:
                    rest = rest[os.write(pipe, rest) :]
            except BlockingIOError:
                return
            except BrokenPipeError:
                pass
            close()

        os.set_blocking(pipe, False)
        stack.callback(close)
        self._loop.add_writer(pipe, ready)


def _outcome(message: dict[str, Any]) -> Outcome:
    killed_by = message["killed_by"]
    usage = Usage(message["wall_ns"], message["cpu_ns"], message["memory_bytes"])
    return Outcome(message["wait_status"], None if killed_by is None else KilledBy(killed_by), usage)
