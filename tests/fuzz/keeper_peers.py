"""What a peer may do to the keeper's socket, and what it must then hear: a model of one connection.

A peer keeps what it may expect: which of its runs were asked for and have begun, and whether the keeper has to close it.
Whatever it hears beyond that fails the test.
"""

import contextlib
import dataclasses
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator

from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages, wire

HEAR_S = 30.0  # for an answer, on a machine that others use too


@contextlib.contextmanager
def as_user(name: str) -> Iterator[None]:
    """What is connected meanwhile is this user's (unix(7), SO_PEERCRED)."""
    os.seteuid(pwd.getpwnam(name).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


@dataclasses.dataclass(slots=True)
class Asked:
    """A run: its pipes once it has begun. `is_held`: nothing but its peer's word, or end, can end it."""

    is_held: bool
    has_begun: bool = False
    pipes: tuple[int, ...] = ()

    def close(self) -> None:
        """Idempotent."""
        fds.close_all(self.pipes)
        self.pipes = ()


class Peer:
    """A connection to the keeper's socket at `path`, made anew where the keeper had to close it.

    `runs` are those that are neither refused nor ended, as far as was heard; `over` says what became of the others.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connect()

    def __repr__(self) -> str:
        return f"<Peer: {self.runs}>"

    def _connect(self) -> None:
        self.runs: dict[int, Asked] = {}
        self.over: dict[int, messages.Ended | messages.Refused] = {}
        self._is_doomed = self._is_closed = False
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with as_user("cellblock"):
            self.sock.connect(self._path)

    @property
    def held(self) -> list[int]:
        """Those that are parked, and stay so."""
        return [number for number, run in self.runs.items() if run.is_held and run.has_begun]

    def say(self, data: bytes, given: list[int], waits: bool = True) -> None:
        """Send it; descriptors stay the caller's.

        Where the keeper has to close this peer for it, it must do so while the peer `waits`; one that does not is gone
        at once. Either comes back.
        """
        self.hear_all()
        self._expect(data, given)
        self.sock.settimeout(HEAR_S)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # told when it is heard
            wire.send(self.sock, data, given)
        if self._is_doomed and waits:
            self._hear_until(lambda: False)
        if self._is_doomed or not waits:
            self.vanish()

    def vanish(self) -> None:
        """Without a word, and come back as another."""
        self.close()
        self._connect()

    def _expect(self, data: bytes, given: list[int]) -> None:
        try:
            if len(data) > messages.MAX_BYTES or len(given) > wire.MAX_DESCRIPTORS:
                raise messages.BadMessage
            message = messages.decode(data, len(given), messages.TO_KEEPER)
        except messages.BadMessage:
            self._is_doomed = True
            return
        match message:
            case messages.Run(number, held=held) if number not in self.runs:
                self.runs[number] = Asked(held)
            case messages.Run():
                self._is_doomed = True
            case messages.Begin(number) | messages.Kill(number) if number in self.runs:
                self.runs[number].is_held = False

    def hear_all(self) -> None:
        """All that is there, without waiting."""
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while not self._is_closed:
                self._hear()

    def hear_until_begun_or_over(self, number: int) -> None:
        """Until the run has its pipes, or will have none."""
        self._hear_until(lambda: number in self.over or self.runs[number].has_begun)

    def hear_until_over(self) -> None:
        """Until it has no run any more."""
        self._hear_until(lambda: not self.runs)

    def _hear_until(self, condition: Callable[[], bool]) -> None:
        """Or until it is closed. HEAR_S at most, past which TimeoutError is raised."""
        deadline_s = time.monotonic() + HEAR_S
        while not self._is_closed and not condition():
            self.sock.settimeout(max(0.001, deadline_s - time.monotonic()))
            self._hear()

    def _hear(self) -> None:
        try:
            received = wire.receive(self.sock)
        except ConnectionResetError:  # the end, with something unread
            received = None
        if received is None:
            assert self._is_doomed, "the keeper closed a peer that was polite"
            self._is_closed = True
            return
        data, given = received
        message = messages.decode(data, len(given), messages.TO_HTTP)
        match message:
            case messages.Started(number):
                run = self.runs[number]
                assert not run.has_begun
                run.has_begun, run.pipes = True, tuple(given)
                return
            case messages.Refused(number):
                self._end(number, message)
            case messages.Ended(number):
                assert self.runs[number].has_begun
                self._end(number, message)
        fds.close_all(given)

    def _end(self, number: int, message: messages.Ended | messages.Refused) -> None:
        self.runs.pop(number).close()
        self.over[number] = message

    def close(self) -> None:
        """Idempotent."""
        self.sock.close()
        for run in self.runs.values():
            run.close()
