"""One thread, one selector, one heap of timers: what the keeper waits for."""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable

Callback = Callable[[], None]


class Timer:
    """A callback that is due once; `cancel` is allowed at any time."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Calls back when a descriptor is ready or a time (CLOCK_MONOTONIC) has come."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def watch(self, descriptor: int, callback: Callback) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, (callback, None))

    def watch_write(self, descriptor: int, callback: Callback | None) -> None:
        """Also call back when a watched descriptor can be written; None ends that."""
        key = self._selector.get_key(descriptor)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if callback else 0)
        self._selector.modify(descriptor, events, (key.data[0], callback))

    def unwatch(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def after(self, seconds: float, callback: Callback) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            for key, events in self._selector.select(self._until_next_timer()):
                if self._selector.get_map().get(key.fd) is not key:
                    continue  # unwatched by an earlier callback of this round
                on_read, on_write = key.data
                if events & selectors.EVENT_WRITE and on_write is not None:
                    on_write()
                elif events & selectors.EVENT_READ:
                    on_read()
            self._call_timers()

    def _until_next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()
