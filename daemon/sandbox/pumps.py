"""Moves bytes between an event loop and a program's pipes: reads its output up to a limit, writes its input."""

import abc
import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

READ_BYTES = 64 << 10
PIPE_BYTES = 1 << 20
LITTLE_BYTES, LITTLE_READS = 4096, 64  # after so many reads of less, all streams of a program rest after each
PAUSE_S = 0.005  # for so long: what comes byte by byte is read 200 times a second
QUIET_S = 0.1  # after so long without anything it is forgotten

Piece = tuple[str, bytes]  # the stream's name ("stdout", "stderr") and what came
OnOutput = Callable[[str, bytes], None]  # hears of a piece


class Drain:
    """Reads streams whenever they have something.

    `streams`: descriptors, each called `stdout` or `stderr`. There is room for `room` bytes of all together, and
    `spare` more are thrown away; `on_over` is called once, at the first byte beyond both. `on_output` hears what
    there is room for as it comes, and where `keeps` is true it is kept. Owns the descriptors; `close` may be called
    at any time, and again.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, streams: dict[int, str], room: int, on_over: Callable[[], None],
        on_output: OnOutput | None, keeps: bool = True, spare: int = 0,
    ) -> None:  # fmt: skip
        self._loop, self._room, self._on_over, self._on_output = loop, room, on_over, on_output
        self._keeps, self._spare = keeps, spare
        self.pieces: list[Piece] = []  # what was kept, in the order in which it came
        self._open = dict(streams)
        self._little, self._last_s = 0, 0.0  # reads of little, and when the last one was
        self._paused: asyncio.TimerHandle | None = None
        self.is_over = False  # there was more than may be
        self.is_heard = False  # on_output was called
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
            loop.add_reader(descriptor, self._read, descriptor)

    async def rest(self) -> None:
        """Read what the pipes still hold, and close them: for when nobody is alive who could write more.

        Their end is not waited for: it does not come while sockets that are on their way through each other hold the
        other ends, and the kernel looks for such cycles only now and then (unix(7), SCM_RIGHTS).
        """
        while self._open:
            for descriptor in list(self._open):
                self._read(descriptor, is_last=True)
            await asyncio.sleep(0)

    def content(self, name: str) -> bytes:
        """What was kept of a stream."""
        return b"".join(data for whose, data in self.pieces if whose == name)

    def close(self) -> None:
        """Close what is open."""
        for descriptor in list(self._open):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._open[descriptor]
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        if not self._open and self._paused is not None:
            self._paused.cancel()
            self._paused = None

    def _pause(self) -> None:
        for descriptor in self._open:
            self._loop.remove_reader(descriptor)
        self._paused = self._loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        """Of all together stdout is read first: a traceback follows what was printed before it."""
        self._paused = None
        for descriptor in self._open:
            self._loop.add_reader(descriptor, self._read, descriptor)
        for descriptor in list(self._open):
            if descriptor in self._open:  # whoever hears of the first may close all
                self._read(descriptor)

    def _read(self, descriptor: int, is_last: bool = False) -> None:
        """One chunk; `is_last`: where there is none now, none will come."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            if is_last:
                self._close(descriptor)
            return
        if not data:
            self._close(descriptor)
            return
        if len(data) < LITTLE_BYTES and not is_last:
            now_s = self._loop.time()
            self._little = self._little + 1 if now_s - self._last_s < QUIET_S else 1
            self._last_s = now_s
            if self._little > LITTLE_READS and self._paused is None:
                self._pause()
        name, kept = self._open[descriptor], data[: self._room]
        self._room -= len(kept)
        if kept:
            if self._keeps:
                self.pieces.append((name, kept))
            if self._on_output is not None:
                self.is_heard = True
                self._on_output(name, kept)
        self._spare -= len(data) - len(kept)
        if self._spare < 0 and not self.is_over:
            self.is_over = True
            self._on_over()


class Bridge:
    """Moves what one program writes into another's input, without a copy in this process (splice(2)).

    `on_over` is called once, at the first byte beyond `room`; both pipes are closed then. `on_end` is called once, when
    nobody can write any more; the reader hears of that by `close`. Once nobody reads, the rest is thrown away: a writer
    never meets a broken pipe because it was the slower of two. Owns both pipes. `close` may be called at any time, and
    again.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: int, target: int, room: int, on_over: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:  # fmt: skip
        self._loop, self._source, self._target, self._room, self._on_over = loop, source, target, room, on_over
        self._on_end = on_end
        self._is_open = True
        self.is_unheard = False  # something was written when nobody read any more
        for descriptor in (source, target):
            os.set_blocking(descriptor, False)
        loop.add_reader(source, self._move)

    def close(self) -> None:
        """Close both pipes: the reader meets the end of its input, the writer a broken pipe."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._source)
            self._loop.remove_writer(self._target)
            os.close(self._source)
            os.close(self._target)

    def _move(self) -> None:
        is_full = self._room <= 0
        size = min(READ_BYTES, self._room) or 1
        try:
            moved = len(os.read(self._source, size)) if self.is_unheard or is_full else self._splice(size)
        except BlockingIOError:
            if not self.is_unheard and not is_full:  # there is something, so the other side has no room
                self._loop.remove_reader(self._source)
                self._loop.add_writer(self._target, self._go_on)
            return
        except BrokenPipeError:
            self.is_unheard = True  # what is there is read at the next turn
            return
        self._room -= moved
        if not moved:
            self._loop.remove_reader(self._source)
            self._on_end()
        elif is_full:
            self._on_over()
            self.close()

    def _splice(self, size: int) -> int:
        return os.splice(self._source, self._target, size, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)

    def _go_on(self) -> None:
        self._loop.remove_writer(self._target)
        self._loop.add_reader(self._source, self._move)


class Feed(abc.ABC):
    """Brings all of its content into a program's input as that is read, then closes; a program that does not read it is
    not our affair. Owns the pipe; `close` may be called at any time, and again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: int) -> None:
        self._loop, self._pipe, self._is_open = loop, pipe, True
        os.set_blocking(pipe, False)
        loop.add_writer(pipe, self._go_on)

    def close(self) -> None:
        """Close the pipe, whether all was written or not."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_writer(self._pipe)
            os.close(self._pipe)

    @abc.abstractmethod
    def _write(self) -> bool:
        """Write what there is room for; False when there is nothing more. Raises BlockingIOError, BrokenPipeError."""

    def _go_on(self) -> None:
        try:
            if self._write():
                return
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        self.close()


class FileFeed(Feed):
    """A whole file, without a copy in this process (splice(2)).

    It is lent, and read at offsets of our own, so that many may read it at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: int, file: int) -> None:
        self._file, self._offset = file, 0
        with contextlib.suppress(OSError):  # beyond what the host allows: it takes more turns then
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        super().__init__(loop, pipe)

    def _write(self) -> bool:
        moved = os.splice(self._file, self._pipe, PIPE_BYTES, offset_src=self._offset, flags=os.SPLICE_F_NONBLOCK)
        self._offset += moved
        return moved > 0


class BytesFeed(Feed):
    """Bytes in memory; where there are none the pipe is closed at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: int, data: bytes) -> None:
        self._rest = memoryview(data)
        if data:
            super().__init__(loop, pipe)
        else:
            self._is_open = False
            os.close(pipe)

    def _write(self) -> bool:
        while self._rest:
            self._rest = self._rest[os.write(self._pipe, self._rest) :]
        return False


def feed_of(loop: asyncio.AbstractEventLoop, pipe: int, stdin: bytes | int) -> Feed:
    """What brings bytes, or a file, into a program's input."""
    return BytesFeed(loop, pipe, stdin) if isinstance(stdin, bytes) else FileFeed(loop, pipe, stdin)
