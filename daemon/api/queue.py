"""Admission: how many requests run at once and how many may wait. Full is an answer, not a longer wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from .problems import RETRY_AFTER_S, ApiProblem

BODIES_BYTES = 256 << 20  # a body in JSON, as text and as bytes is in memory several times


class Queue:
    """`running` requests hold a slot; `waiting` ones are served in the order of their arrival."""

    def __init__(self, slots: int, places: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._at_once, self._places = slots, places
        self.running = self.waiting = self.body_bytes = 0

    def __repr__(self) -> str:
        return f"<Queue: {self.running}/{self._at_once} running, {self.waiting}/{self._places} waiting>"

    def check(self) -> None:
        """Raises ApiProblem 503 when nobody more may wait; called before a body is read."""
        if self.running >= self._at_once and self.waiting >= self._places:
            raise ApiProblem(
                503, "queue_full", f"All {self._at_once} slots are busy and {self._places} requests wait; try again",
                retry_after_s=RETRY_AFTER_S,
            )  # fmt: skip

    @contextlib.contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Hold room for a body of `size` bytes while its request lives. Raises ApiProblem 503 when there is none."""
        if self.body_bytes + size > BODIES_BYTES:
            raise ApiProblem(
                503, "queue_full", "Too many large requests at once; try again", retry_after_s=RETRY_AFTER_S
            )
        self.body_bytes += size
        try:
            yield
        finally:
            self.body_bytes -= size

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises ApiProblem 503 when the queue is full."""
        self.check()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()
