"""Closes what came from a peer, where close(2) may wait: socket(7), SO_LINGER with unsent data does."""

import contextlib
import fcntl
import os
import queue
import threading
from collections.abc import Iterable

WAITING_MAX = 1024


class Closer:
    """A thread that closes descriptors, so that nobody who sent one can make the keeper's loop wait.

    It ends with the process: the kernel does not linger for one that exits.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._close_all, name="closer", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Closer: {self._queue.qsize()} waiting>"

    @property
    def is_behind(self) -> bool:
        """True when so many wait that no more may be taken from anyone."""
        return self._queue.qsize() > WAITING_MAX

    def close(self, descriptors: Iterable[int]) -> None:
        """Takes the descriptors; returns at once, whatever they are."""
        for descriptor in descriptors:
            if _is_in_memory(descriptor):
                os.close(descriptor)  # as nearly all are: a thread would cost more
            else:
                self._queue.put(descriptor)

    def _close_all(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # EIO and the like: it is closed all the same (close(2), NOTES)
                os.close(self._queue.get())


def _is_in_memory(descriptor: int) -> bool:
    """True for a memfd: only files without anything behind them can have seals (fcntl(2), F_GET_SEALS)."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return True
