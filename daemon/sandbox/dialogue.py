"""What somebody says to a program while it runs: its input, piece by piece, and signals."""

import asyncio
import os
from collections.abc import Callable


class Dialogue:
    """For one run. What is said before the program runs waits for it; what it has not read yet waits here, too.

    `waiting_bytes` is how much that is: whoever says more and more has to bound it. The program meets the end of its
    input when it has ended itself.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._signals: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pipe: int | None = None
        self._send_signal: Callable[[int], None] | None = None
        self.is_heard = False  # the program may have got some of it

    def __repr__(self) -> str:
        state = "waits for its program" if self._pipe is None else "goes on"
        return f"<Dialogue: {state}, {self.waiting_bytes} bytes waiting>"

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the program has not been given yet."""
        return len(self._waiting)

    def say(self, data: bytes) -> None:
        """The next bytes of its standard input."""
        self._waiting += data
        self._write()

    def signal(self, number: int) -> None:
        """A signal by its number (signal(7)), to the program alone and not to its children."""
        if self._send_signal is None:
            self._signals.append(number)
        else:
            self.is_heard = True
            self._send_signal(number)

    # -- of the run

    def begin(self, loop: asyncio.AbstractEventLoop, pipe: int, send_signal: Callable[[int], None]) -> None:
        """The program runs. `pipe`, its standard input, is ours to close. Where a run was lost that heard of nothing,
        the next one begins anew."""
        os.set_blocking(pipe, False)
        self._loop, self._pipe, self._send_signal = loop, pipe, send_signal
        self._write()
        signals, self._signals = self._signals, []
        for number in signals:
            self.signal(number)

    def close(self) -> None:
        """The program has ended. May be called again."""
        self._send_signal = None
        if self._pipe is not None and self._loop is not None:
            self._loop.remove_writer(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _write(self) -> None:
        """What there is room for; the rest when there is again. A program that does not read is not our affair."""
        if self._pipe is None or self._loop is None:
            return
        try:
            while self._waiting:
                self.is_heard = True
                del self._waiting[: os.write(self._pipe, self._waiting)]
        except BlockingIOError:
            self._loop.add_writer(self._pipe, self._write)
            return
        except BrokenPipeError:
            self._waiting.clear()
        self._loop.remove_writer(self._pipe)
