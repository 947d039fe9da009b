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
    per_s: float
    runs: int
    p50_ms: float
    p99_ms: float


@dataclasses.dataclass(frozen=True, slots=True)
class Soak:
    """What each minute of load showed, and what was held before and after."""

    minutes: tuple[Minute, ...]
    before: Held
    after: Held


def soak(
    served: Served, toolchain: Toolchain, program: BenchProgram, capacity_per_s: Callable[[], float], seconds: float,
    progress: Callable[[], None],
) -> Soak:  # fmt: skip
    """Offer `SHARE` of the capacity for so long, in minutes. Raises WrongAnswer, OSError.

    The capacity is measured anew before each of them: a host's own speed drifts.
    """
    connections: queue.SimpleQueue[Cellblock] = queue.SimpleQueue()
    spent_s: list[float] = []

    def one(due_s: float) -> None:
        try:
            dialect = connections.get_nowait()
        except queue.Empty:
            dialect = Cellblock(served.url)
        output = dialect.run(toolchain, program.code)
        connections.put(dialect)
        if output != program.output:
            raise WrongAnswer(f"{program.name} printed {output[:200]!r}")
        spent_s.append(time.perf_counter() - due_s)

    length_s = min(60.0, seconds / 2)
    minutes = []
    with concurrent.futures.ThreadPoolExecutor(8 * (os.cpu_count() or 1)) as workers:
        _warm_up(workers, one)
        time.sleep(SETTLE_S)
        before = observe.held(served)
        for number in range(1, max(1, round(seconds / length_s)) + 1):
            per_s = SHARE * capacity_per_s()
            time.sleep(SETTLE_S)
            spent_s.clear()
            _offer(workers, one, per_s, length_s, progress)
            spent = sorted(spent_s)
            minutes.append(Minute(number, per_s, len(spent), quantile(spent, 0.5) * 1e3, quantile(spent, 0.99) * 1e3))
    with contextlib.suppress(queue.Empty):
        while True:
            connections.get_nowait().close()
    time.sleep(SETTLE_S)
    return Soak(tuple(minutes), before, observe.held(served))


def _offer(
    workers: concurrent.futures.Executor, one: Callable[[float], None], per_s: float, seconds: float,
    progress: Callable[[], None],
) -> None:  # fmt: skip
    """So many a second, whether or not those before were answered; returns when all are."""
    start_s = time.perf_counter()
    futures: list[concurrent.futures.Future[None]] = []
    for number in range(max(1, int(per_s * seconds))):
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


def _warm_up(workers: concurrent.futures.ThreadPoolExecutor, one: Callable[[float], None]) -> None:
    """Every connection and cache that the load will use is there before the first count."""
    for future in [workers.submit(one, time.perf_counter()) for _ in range(200)]:
        future.result()
