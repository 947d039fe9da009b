"""What clients have not read yet of their answers: bounded in bytes, and in seconds without progress.

An answer that the kernel's buffer has no room for stays here. Whoever reads on, however slowly, is served to the end;
who takes nothing for `seconds` is cut. Where all such answers together are above `bytes_max`, the client that has most
of them loses the one whose reader stands still for longest, until they are not.
"""

import dataclasses
from typing import Protocol

from .tally import Tally

CODE = "answer_unread"  # in the log and the counts, of whoever was cut; no answer has it


class Writer(Protocol):
    """A connection whose answer is under way."""

    @property
    def client(self) -> str:
        """Whose share it counts to."""

    def unread_bytes(self) -> int:
        """What is here still."""

    def taken_bytes(self) -> int:
        """How much of its answers the other side has taken, its kernel included. It never shrinks."""

    def cut(self) -> None:
        """Ends the connection at once; the answer is lost, and what it held is free."""


@dataclasses.dataclass(slots=True)
class _Held:
    client: str
    size: int
    taken: int
    since_s: float  # when the reader took something for the last time


class Unread:
    """Knows the connections that wait for their readers, and no others: whoever reads at once costs nothing."""

    def __init__(self, bytes_max: int, seconds: float) -> None:
        self._bytes_max, self._seconds = bytes_max, seconds
        self._held: dict[Writer, _Held] = {}
        self._unread = Tally()

    @property
    def total(self) -> int:
        """Bytes of all unread answers."""
        return self._unread.total

    def __repr__(self) -> str:
        return f"<Unread: {self.total} of at most {self._bytes_max} bytes, {len(self._held)} connections>"

    def hold(self, writer: Writer, now_s: float) -> None:
        """It waits for its reader, or has more to send than before. May cut it, or others."""
        held = self._held.get(writer)
        if held is None:
            held = self._held[writer] = _Held(writer.client, 0, writer.taken_bytes(), now_s)
        self._resize(held, writer.unread_bytes())
        while self.total > self._bytes_max:
            most = self._unread.most()
            its = [one for one, held in self._held.items() if held.client == most and held.size]
            self._cut(min(its, key=lambda one: self._held[one].since_s))

    def drop(self, writer: Writer) -> None:
        """It waits no more: all is sent, or it has ended. May be called when it does not wait."""
        held = self._held.pop(writer, None)
        if held is not None:
            self._resize(held, 0)

    def look(self, now_s: float) -> None:
        """Cut whoever has taken nothing for too long. To be called again and again."""
        for writer, held in list(self._held.items()):
            self._resize(held, writer.unread_bytes())
            taken = writer.taken_bytes()
            if taken > held.taken:
                held.taken, held.since_s = taken, now_s
            elif now_s - held.since_s >= self._seconds:
                self._cut(writer)

    def _cut(self, writer: Writer) -> None:
        self.drop(writer)
        writer.cut()

    def _resize(self, held: _Held, size: int) -> None:
        self._unread.add(held.client, size - held.size)
        held.size = size
