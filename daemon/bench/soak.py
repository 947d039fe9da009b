"""A long run at a steady share of capacity: what grows, and whether the last minute is as fast as the first."""

import concurrent.futures
import contextlib
import dataclasses
import os
import queue
import time
from collections.abc import Callable

from daemon.toolchain.schema import BenchProgram, Toolchain

from . import observe
from .dialects import Cellblock, WrongAnswer
from .measure import quantile
from .observe import Held, Served

SHARE = 0.8
CAPACITY_S = 5.0
SETTLE_S = 3.0  # pools fill, groups of the last runs go


@dataclasses.dataclass(frozen=True, slots=True)
class Minute:
    """Latencies are from the moment at which a request was due: a server that falls behind cannot hide it."""

    number: int
    runs: int
    p50_ms: float
    p99_ms: float


@dataclasses.dataclass(frozen=True, slots=True)
class Soak:
    per_s: float
    minutes: tuple[Minute, ...]
    before: Held
    after: Held


def soak(
    served: Served, toolchain: Toolchain, program: BenchProgram, capacity_per_s: float, seconds: float,
    progress: Callable[[], None],
) -> Soak:  # fmt: skip
    """Offer `SHARE` of the capacity for so long. Raises WrongAnswer, OSError."""
    per_s = capacity_per_s * SHARE
    connections: queue.SimpleQueue[Cellblock] = queue.SimpleQueue()
    found: list[tuple[float, float]] = []  # due, latency

    def one(due_s: float) -> None:
        try:
            dialect = connections.get_nowait()
        except queue.Empty:
            dialect = Cellblock(served.url)
        output = dialect.run(toolchain, program.code)
        connections.put(dialect)
        if output != program.output:
            raise WrongAnswer(f"{program.name} printed {output[:200]!r}")
        found.append((due_s, time.perf_counter() - due_s))

    with concurrent.futures.ThreadPoolExecutor(8 * (os.cpu_count() or 1)) as workers:
        _warm_up(workers, one)
        found.clear()
        time.sleep(SETTLE_S)
        before = observe.held(served)
        start_s = time.perf_counter()
        futures: list[concurrent.futures.Future[None]] = []
        for number in range(int(per_s * seconds)):
            due_s = start_s + number / per_s
            time.sleep(max(0.0, due_s - time.perf_counter()))
            futures.append(workers.submit(one, due_s))
            if number % 64 == 0:
                for future in [future for future in futures if future.done()]:
                    future.result()
                futures = [future for future in futures if not future.done()]
                progress()
        for future in futures:
            future.result()
    with contextlib.suppress(queue.Empty):
        while True:
            connections.get_nowait().close()
    time.sleep(SETTLE_S)
    length_s = min(60.0, seconds / 2)
    minutes = []
    for number in range(max(1, round(seconds / length_s))):
        begin_s = start_s + number * length_s
        spent = sorted(latency for due_s, latency in found if begin_s <= due_s < begin_s + length_s)
        if spent:
            minutes.append(Minute(number + 1, len(spent), quantile(spent, 0.5) * 1e3, quantile(spent, 0.99) * 1e3))
    return Soak(per_s, tuple(minutes), before, observe.held(served))


def _warm_up(workers: concurrent.futures.ThreadPoolExecutor, one: Callable[[float], None]) -> None:
    """Every connection and cache that the load will use is there before the first count."""
    for future in [workers.submit(one, time.perf_counter()) for _ in range(200)]:
        future.result()
