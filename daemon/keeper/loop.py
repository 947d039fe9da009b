"""One thread, one epoll(7), one heap of timers: what the keeper waits for.

Ours rather than asyncio's, because this is shorter to read than what asyncio's tasks, transports and contexts would
add to the privileged process, and imports neither ssl nor a thread pool.
"""

import contextlib
import functools
import heapq
import itertools
import logging
import select
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger("cellblock.keeper")

Callback = Callable[[], object]
Blame = Callable[[Exception], None]


class Timer:
    """A callback that is due once; `cancel` is allowed at any time."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """It will not be called; nothing happens to one that was."""
        self.callback = None


class Loop:
    """Calls back when a descriptor is ready or a time (CLOCK_MONOTONIC, seconds) has come. Use it by `guard`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Callback, Callback | None]] = {}  # called when it can be read, and written
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callback] = deque()
        self._stopped = False

    def guard(self, blame: Blame) -> "Guard":
        """The loop for one owner: `blame` hears of an exception in any of its callbacks."""
        return Guard(self, blame)

    def watch(self, descriptor: int, callback: Callback) -> None:
        """Call back whenever the descriptor can be read. Raises OSError when it cannot be watched."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._watched[descriptor] = callback, None

    def watch_write(self, descriptor: int, callback: Callback | None) -> None:
        """Also call back when a watched descriptor can be written; None ends that."""
        on_read, _ = self._watched[descriptor]
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if callback else 0))
        self._watched[descriptor] = on_read, callback

    def unwatch(self, descriptor: int) -> None:
        """Before the descriptor is closed. Raises KeyError when it is not watched."""
        del self._watched[descriptor]
        with contextlib.suppress(OSError):  # it was closed all the same
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, so many seconds from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def soon(self, callback: Callback) -> None:
        """Call it when the callbacks of this turn are done: nobody hears of an end within a call of his own."""
        self._soon.append(callback)

    def stop(self) -> None:
        """`run` returns after this turn."""
        self._stopped = True

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped:
            ready = self._epoll.poll(self._until_next())
            for descriptor, events, watched in [(one, events, self._watched.get(one)) for one, events in ready]:
                if watched is None or self._watched.get(descriptor) is not watched:
                    continue  # unwatched by an earlier callback of this turn
                on_read, on_write = watched
                if on_write is not None and events & ~select.EPOLLIN:  # an error or a hang-up is for both
                    on_write()
                elif events & ~select.EPOLLOUT:
                    on_read()
            self._call_timers()
            for _ in range(len(self._soon)):
                self._soon.popleft()()

    def _until_next(self) -> float | None:
        if self._soon:
            return 0.0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()


class Guard:
    """The loop, for callbacks of one owner. An exception is logged and blamed on the owner; the loop goes on."""

    def __init__(self, loop: Loop, blame: Blame) -> None:
        self._loop, self._blame = loop, blame
        self.unwatch = loop.unwatch

    def watch(self, descriptor: int, callback: Callback) -> None:
        """As Loop.watch."""
        self._loop.watch(descriptor, functools.partial(self.call, callback))

    def watch_write(self, descriptor: int, callback: Callback | None) -> None:
        """As Loop.watch_write."""
        self._loop.watch_write(descriptor, None if callback is None else functools.partial(self.call, callback))

    def after(self, seconds: float, callback: Callback) -> Timer:
        """As Loop.after."""
        return self._loop.after(seconds, functools.partial(self.call, callback))

    def soon(self, callback: Callback) -> None:
        """As Loop.soon."""
        self._loop.soon(functools.partial(self.call, callback))

    def call(self, callback: Callback) -> None:
        """Now, with the same protection."""
        try:
            callback()
        except Exception as error:
            self.blame(error)

    def blame(self, error: Exception) -> None:
        """Log what was raised, and tell the owner."""
        log.error("a callback failed", exc_info=error)
        try:
            self._blame(error)
        except Exception:
            log.exception("ending what had failed did not work either")
