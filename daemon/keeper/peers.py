"""One connected HTTP process: its runs, what it says, and what it is told. Nothing that it says stops the keeper."""

import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

from daemon.sandbox import messages, wire
from daemon.sandbox.model import KilledBy
from daemon.sandbox.outbox import Outbox

from .closing import Closer
from .cores import Cores
from .loop import Loop, Timer
from .pool import Pool
from .runs import Run

log = logging.getLogger("cellblock.keeper")

UNREAD_MAX = 256  # messages
UNREAD_S = 2.0

FindPool = Callable[[str, str], Pool | None]  # by toolchain and step


class Peer:
    """A socket and the runs ordered through it; `on_close` hears of its end.

    Nothing said to it ever blocks: a peer that does not read is closed and its runs are killed.
    """

    def __init__(
        self, loop: Loop, sock: socket.socket, find_pool: FindPool, cores: Cores, closer: Closer,
        on_close: Callable[["Peer"], None],
    ) -> None:  # fmt: skip
        self._guard = loop.guard(lambda error: self.close(ascii(error)))
        self._sock, self._find_pool, self._closer, self._on_close = sock, find_pool, closer, on_close
        self._cores = cores
        self._runs: dict[int, Run] = {}
        self._outbox = Outbox(sock)
        self._unread_timer: Timer | None = None
        self.closed = False
        sock.setblocking(False)
        self._guard.watch(sock.fileno(), self._receive)

    def __repr__(self) -> str:
        return f"<Peer: {len(self._runs)} runs, {len(self._outbox)} unsent>"

    def close(self, reason: str) -> None:
        """Kill every run of this peer and forget it. Nothing happens to one that is closed."""
        if self.closed:
            return
        self.closed = True
        log.info("peer closed: %s", reason)
        self._guard.unwatch(self._sock.fileno())
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._closer.close([self._sock.detach()])  # with what it holds unread
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        self._outbox.clear()
        for run in list(self._runs.values()):
            self._guard.call(lambda run=run: run.kill(KilledBy.CLIENT))  # type: ignore[misc]
        self._on_close(self)

    # -- from the peer

    def _receive(self) -> None:
        try:
            received = wire.receive(self._sock, self._closer.close)
        except BlockingIOError:
            return
        except wire.NoDescriptors as error:
            self._refuse(error.data)
            return
        except (OSError, messages.BadMessage) as error:
            self.close(str(error))
            return
        if received is None:
            self.close("end of stream")
            return
        data, descriptors = received
        try:
            if self._closer.is_behind:
                raise messages.BadMessage("its descriptors cannot be closed")
            self._obey(messages.decode(data, len(descriptors), messages.TO_KEEPER), descriptors)
        except messages.BadMessage as error:
            self.close(str(error))
        finally:
            self._closer.close(descriptors)

    def _refuse(self, data: bytes) -> None:
        """A message whose descriptors this process had no room for: its run is refused, and no other."""
        try:
            message = messages.decode(data, None, messages.TO_KEEPER)
        except messages.BadMessage as error:
            self.close(str(error))
            return
        if isinstance(message, messages.Run) and message.run not in self._runs:
            self.say(messages.Refused(message.run, "descriptors", "none is left"))

    def _obey(self, message: messages.Message, descriptors: list[int]) -> None:
        """Takes descriptors out of the list that it keeps."""
        match message:
            case messages.Run(number) if number in self._runs:
                raise messages.BadMessage(f"run {number} exists")
            case messages.Run(number, toolchain, step):
                pool = self._find_pool(toolchain, step)
                if pool is None:
                    self.say(messages.Refused(number, "acquire", "no such step"))
                    return
                given, descriptors[:] = list(descriptors), []
                run = self._runs[number] = Run(self, message, given, pool, self._closer.close, self._cores)
                run.start()
            case messages.Begin(number):
                if number in self._runs:  # else it ended while this message travelled
                    self._runs[number].begin()
            case messages.Kill(number, why):
                if number in self._runs:  # else it ended while this message travelled
                    self._runs[number].kill(why)
            case messages.Signal(number, which):
                if number in self._runs:  # else it ended while this message travelled
                    self._runs[number].signal(which)

    # -- from the runs

    def run_ended(self, number: int) -> None:
        """Nothing more is said of the run; its number is free."""
        self._runs.pop(number, None)

    # -- to the peer

    def say(self, message: messages.Message, descriptors: Sequence[int] = ()) -> None:
        """Send now, or keep it with copies of the descriptors until the peer reads."""
        if self.closed:
            return
        try:
            self._outbox.send(message.encode(), descriptors)
        except (OSError, ValueError) as error:  # it is gone, or would wait for what can never come
            self.close(str(error))
            return
        if len(self._outbox) > UNREAD_MAX:
            self.close(f"{UNREAD_MAX} messages unread")
        elif self._outbox.is_waiting and self._unread_timer is None:
            self._unread_timer = self._guard.after(UNREAD_S, lambda: self.close(f"unread for {UNREAD_S:.0f} s"))
            self._guard.watch_write(self._sock.fileno(), self._flush)

    def _flush(self) -> None:
        try:
            self._outbox.flush()
        except OSError as error:
            self.close(str(error))
            return
        if not self._outbox.is_waiting and self._unread_timer is not None:
            self._guard.watch_write(self._sock.fileno(), None)
            self._unread_timer.cancel()
            self._unread_timer = None
