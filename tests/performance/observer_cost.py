"""What it costs to observe one POST /execute: CPU time of this thread, least of many (warm) and median with cold caches.

`python -m tests.performance.observer_cost 2>/dev/null` prints it; the log's lines go to stderr.
"""

import asyncio
import functools
import statistics
import time
from collections.abc import Callable

from aiohttp import test_utils, web

from daemon import logs
from daemon.api.metrics import Metrics
from daemon.api.observer import TOGETHER_MAX, Observer
from daemon.settings import Settings

TIMES = 20 * TOGETHER_MAX
CACHE_BYTES, LINE_BYTES = 48 << 20, 4096


def one(observer: Observer, request: web.Request) -> None:
    """A request of a Python program, and all that a handler notes of it."""
    note = observer.begin(request, "/execute")
    note.language, note.reason = "python", "exited"
    note.queue_ns, note.acquire_ns, note.run_ns, note.known_ns = 5000, 300_000, 900_000, time.monotonic_ns()
    observer.end(request, note, (200, 335), "address 127.0.0.1")


def warm(work: Callable[[], None]) -> float:
    """Microseconds of one of TIMES in a row, counting and logging included."""
    rounds = []
    for _ in range(20):
        started_ns = time.thread_time_ns()
        for _ in range(TIMES):
            work()
        rounds.append((time.thread_time_ns() - started_ns) / TIMES / 1000)
    return min(rounds)


def cold(work: Callable[[], None]) -> float:
    """Microseconds of one, after something else has used the processor's caches."""
    other, found = bytearray(CACHE_BYTES), []
    for _ in range(TOGETHER_MAX - 1):  # those that are over are not yet counted
        for position in range(0, CACHE_BYTES, LINE_BYTES):
            other[position] = (other[position] + 1) & 255
        bytes(other)
        started_ns = time.thread_time_ns()
        work()
        found.append((time.thread_time_ns() - started_ns) / 1000)
    return statistics.median(found)


async def main() -> None:
    logs.configure(Settings())
    payload = asyncio.StreamReader()
    payload.total_bytes = 42  # type: ignore[attr-defined]
    request = test_utils.make_mocked_request("POST", "/execute", {"Host": "x"}, payload=payload)
    for name, has_lines in (("counts", False), ("counts and a log line", True)):
        work = functools.partial(one, Observer(Metrics(), None, has_lines), request)
        print(f"{name}: {warm(work):.0f} us of CPU")
        work.args[0].count()
        print(f"  with cold caches, before it is counted: {cold(work):.0f} us")


if __name__ == "__main__":
    asyncio.run(main())
