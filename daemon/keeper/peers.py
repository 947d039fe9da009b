"""One connected HTTP process: its runs, the messages it may send, and what it is sent.

Nothing that it says stops the keeper.
"""

import collections
import contextlib
import fcntl
import logging
import socket
from typing import TYPE_CHECKING

from daemon.sandbox import wire
from daemon.sandbox.model import MAX_PAYLOAD_BYTES, KilledBy, Limits

from .loop import Loop, Timer
from .runs import Order, Run

if TYPE_CHECKING:
    from .core import Keeper

log = logging.getLogger("cellblock.keeper")

UNREAD_MAX = 256
UNREAD_S = 2.0
REASON_CHARACTERS = 500
CLIENT_REASONS = {KilledBy.OUTPUT, KilledBy.CLIENT}


class Peer:
    """A socket and the runs ordered through it.

    Sends never block: a peer that does not read is closed and its runs are killed.
    """

    def __init__(self, loop: Loop, sock: socket.socket, keeper: "Keeper") -> None:
        self._loop, self._sock, self._keeper = loop, sock, keeper
        self._runs: dict[int, Run] = {}
        self._unsent: collections.deque[tuple[wire.Message, tuple[int, ...]]] = collections.deque()
        self._unread_timer: Timer | None = None
        self.closed = False
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._receive)

    def __repr__(self) -> str:
        return f"<Peer: {len(self._runs)} runs, {len(self._unsent)} unsent>"

    def close(self, reason: str) -> None:
        """Idempotent. Kills every run of this peer."""
        if self.closed:
            return
        self.closed = True
        log.info("peer closed: %s", reason)
        self._loop.unwatch(self._sock.fileno())
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._keeper.closer.close([self._sock.detach()])  # with what it holds unread
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        for _, descriptors in self._unsent:
            wire.close_all(descriptors)
        self._unsent.clear()
        for run in list(self._runs.values()):
            run.kill(KilledBy.CLIENT)
        self._keeper.peer_closed(self)

    # -- from the peer

    def _receive(self) -> None:
        try:
            received = wire.receive(self._sock, self._keeper.closer.close)
        except BlockingIOError:
            return
        except (OSError, wire.BadMessage) as error:
            self.close(str(error))
            return
        if received is None:
            self.close("end of stream")
            return
        message, descriptors = received
        try:
            if self._keeper.closer.is_behind:
                raise wire.BadMessage("its descriptors cannot be closed")
            self._obey(message, descriptors)
        except (wire.BadMessage, ValueError, TypeError, ArithmeticError) as error:
            self.close(ascii(error))  # whatever it is that cannot be encoded, compared or counted came from the peer
        finally:
            self._keeper.closer.close(descriptors)

    def _obey(self, message: wire.Message, descriptors: list[int]) -> None:
        run = _integer(message, "run")
        match message["type"]:
            case "acquire":
                if run in self._runs:
                    raise wire.BadMessage(f"run {run} exists")
                self._acquire(run, message, descriptors)
            case "go":
                order = _order(message, descriptors)
                if run in self._runs:  # else it was refused or ended while this message travelled
                    self._runs[run].go(order)
            case "kill":
                why = _text(message, "why")
                if why not in CLIENT_REASONS:
                    raise wire.BadMessage(f"kill for {why!r}")
                if run in self._runs:
                    self._runs[run].kill(KilledBy(why))
            case "release":
                if run in self._runs:
                    self._runs[run].kill(KilledBy.CLIENT)
            case other:
                raise wire.BadMessage(f"type {other!r}")

    def _acquire(self, run: int, message: wire.Message, descriptors: list[int]) -> None:
        pool = self._keeper.pool(_text(message, "toolchain"), _text(message, "step"))
        if pool is None:
            self.refuse(run, "acquire", f"no step {message['toolchain']}/{message['step']}")
            return
        order = _order(message, descriptors) if "limits" in message else None
        self._runs[run] = Run(self, run, pool)
        self._runs[run].acquire(order)

    # -- from the runs

    def close_later(self, descriptors: list[int]) -> None:
        self._keeper.closer.close(descriptors)

    def ended(self, run: int) -> None:
        self._runs.pop(run, None)

    def refuse(self, run: int, stage: str, reason: str) -> None:
        self.send({"type": "refused", "run": run, "stage": stage, "reason": reason[:REASON_CHARACTERS]})

    # -- to the peer

    def send(self, message: wire.Message, descriptors: tuple[int, ...] = ()) -> None:
        """Send now or keep it, with copies of the descriptors, until the peer reads."""
        if self.closed:
            return
        if not self._unsent:
            try:
                wire.send(self._sock, message, descriptors)
                return
            except BlockingIOError:
                self._unread_timer = self._loop.after(UNREAD_S, lambda: self.close(f"unread for {UNREAD_S:.0f} s"))
                self._loop.watch_write(self._sock.fileno(), self._flush)
            except OSError as error:
                self.close(str(error))
                return
        self._unsent.append((message, tuple(map(_copy, descriptors))))
        if len(self._unsent) > UNREAD_MAX:
            self.close(f"{UNREAD_MAX} messages unread")

    def _flush(self) -> None:
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                wire.send(self._sock, message, descriptors)
            except BlockingIOError:
                return
            except OSError as error:
                self.close(str(error))
                return
            wire.close_all(descriptors)
            self._unsent.popleft()
        self._loop.watch_write(self._sock.fileno(), None)
        if self._unread_timer is not None:
            self._unread_timer.cancel()


def _order(message: wire.Message, descriptors: list[int]) -> Order:
    payload = _text(message, "payload")
    if len(payload.encode()) > MAX_PAYLOAD_BYTES:
        raise wire.BadMessage("payload too long")
    try:
        limits = Limits.from_json(message["limits"])
    except (KeyError, TypeError) as error:
        raise wire.BadMessage(f"limits: {error}") from error
    return Order(limits, payload, _flag(message, "files"), descriptors)


def _copy(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def _integer(message: wire.Message, key: str) -> int:
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise wire.BadMessage(f"{key} is not a number")
    return value


def _flag(message: wire.Message, key: str) -> bool:
    value = message.get(key, False)
    if not isinstance(value, bool):
        raise wire.BadMessage(f"{key} is neither true nor false")
    return value


def _text(message: wire.Message, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise wire.BadMessage(f"{key} is not a string")
    return value
