"""Messages that a socket does not take at once: kept in order, with copies of their descriptors, until it does."""

import collections
import socket
from collections.abc import Sequence

from . import wire
from .descriptors import close_all, copies


class Outbox:
    """For one non-blocking socket, which its owner watches for writing while `is_waiting`, to call `flush` then."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unsent: collections.deque[tuple[bytes, list[int]]] = collections.deque()

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._unsent)

    @property
    def is_waiting(self) -> bool:
        """Something waits for the socket to take it."""
        return bool(self._unsent)

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send now, or keep it. Raises OSError when the peer is gone, or when no descriptor is left for a copy."""
        if not self._unsent:
            try:
                wire.send(self._socket, data, list(descriptors))
                return
            except BlockingIOError:
                pass
        self._unsent.append((data, copies(descriptors)))

    def flush(self) -> None:
        """Send what the socket takes now. Raises OSError when the peer is gone."""
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                wire.send(self._socket, data, descriptors)
            except BlockingIOError:
                return
            close_all(descriptors)
            self._unsent.popleft()

    def clear(self) -> None:
        """Forget all that waits, and close the copies."""
        for _, descriptors in self._unsent:
            close_all(descriptors)
        self._unsent.clear()
