"""Measures: latencies of all variants in turn, so that a noisy host is noisy for each, and right answers a second."""

import collections
import contextlib
import dataclasses
import itertools
import os
import pathlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import BenchProgram, Toolchain

from . import observe
from .bare import bare, bare_rate
from .dialects import Dialect, WrongAnswer
from .observe import Served

NONCE = "NONCE"  # in a program's code: replaced, so that no server has seen it
WARM_UP = 3
_numbers = itertools.count()  # of the programs of throughputs, so that each is a new one

Run = Callable[[str], str]
Progress = Callable[[str], None]
Open = Callable[[], Dialect]
Worker = Callable[[], contextlib.AbstractContextManager[Run]]


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one variant of one program, from the request to the whole answer."""

    language: str
    program: str
    variant: str
    samples_ms: tuple[float, ...]

    def quantile_ms(self, share: float) -> float:
        """Milliseconds; `share` is from 0 to 1."""
        return quantile(sorted(self.samples_ms), share)

    @property
    def median_ms(self) -> float:
        """Milliseconds."""
        return statistics.median(self.samples_ms)


@dataclasses.dataclass(frozen=True, slots=True)
class Throughput:
    """Right answers a second of one program at one concurrency."""

    language: str
    program: str
    variant: str
    concurrency: int
    per_s: float
    cpu_ms: dict[str, float] | None = None  # of one run, by part of a server of our own


def quantile(ordered: list[float], share: float) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latencies(
    servers: dict[str, Open], toolchains: Registry, root: pathlib.Path, runs: int, progress: Progress
) -> Iterator[Latency]:
    """Servers by variant's name; where a language compiles, the first is also asked for what it has seen before."""
    for toolchain, program in _programs(toolchains):
        with contextlib.ExitStack() as stack:
            variants: dict[str, tuple[Run, bool]] = {}  # how to run, and whether each run is new
            for number, (name, open_dialect) in enumerate(servers.items()):
                dialect = stack.enter_context(contextlib.closing(open_dialect()))
                run = _run_of(dialect, toolchain)
                variants[name] = run, True
                if toolchain.compiles and number == 0:
                    variants[f"{name}, seen"] = run, False
            variants["bare"] = stack.enter_context(bare(toolchain, root)).run, True
            samples: dict[str, list[float]] = collections.defaultdict(list)
            for number in range(-WARM_UP, runs):
                for name, (run, is_new) in variants.items():
                    code = program.code.replace(NONCE, f"{os.getpid()}-{number}-{name}" if is_new else "seen")
                    started_s = time.perf_counter()
                    _demand(run(code), program)
                    if number >= 0:
                        samples[name].append((time.perf_counter() - started_s) * 1e3)
                progress(f"{toolchain.id} {program.name}")
            for name, found in samples.items():
                yield Latency(toolchain.id, program.name, name, tuple(found))


def throughputs(
    servers: dict[str, Open], own: dict[str, Served], toolchains: Registry, root: pathlib.Path,
    concurrencies: tuple[int, ...], seconds: float, progress: Progress,
) -> Iterator[Throughput]:  # fmt: skip
    """Of each language's first program, all variants in turn in rounds of about a second.

    The bare command by `xargs -P`, as often at once as there are cores.
    """
    rounds = _rounds(seconds)
    cores = os.cpu_count() or 1
    for toolchain in toolchains:
        if toolchain.bench is None:
            continue
        program = toolchain.bench.programs[0]
        counts = {(name, concurrency): _Count() for concurrency in concurrencies for name in servers}
        bare_per_s = []
        for _ in range(rounds):
            for (name, concurrency), count in counts.items():

                @contextlib.contextmanager
                def worker(open_dialect: Open = servers[name], toolchain: Toolchain = toolchain) -> Iterator[Run]:
                    with contextlib.closing(open_dialect()) as dialect:
                        yield _run_of(dialect, toolchain)

                before = observe.cpu(own[name]) if name in own else None
                done, seconds_taken = rate(worker, program, concurrency, seconds / rounds)
                count.add(done, seconds_taken)
                if before is not None:
                    count.add_cpu(observe.cpu(own[name]).per_run_ms(before, 1))
                progress(f"{toolchain.id} x {concurrency}")
            bare_per_s.append(bare_rate(toolchain, root, program.code, program.output, cores, seconds / rounds))
            progress(f"{toolchain.id} bare")
        for (name, concurrency), count in counts.items():
            yield Throughput(toolchain.id, program.name, name, concurrency, count.per_s, count.cpu_ms)
        yield Throughput(toolchain.id, program.name, "bare", cores, statistics.mean(bare_per_s))


class _Count:
    """Sums of one variant's rounds."""

    def __init__(self) -> None:
        self._done, self._seconds = 0, 0.0
        self._cpu_ms: dict[str, float] = collections.defaultdict(float)

    def add(self, done: int, seconds: float) -> None:
        self._done += done
        self._seconds += seconds

    def add_cpu(self, spent_ms: dict[str, float]) -> None:
        for part, value in spent_ms.items():
            self._cpu_ms[part] += value

    @property
    def per_s(self) -> float:
        return self._done / self._seconds

    @property
    def cpu_ms(self) -> dict[str, float] | None:
        """Of one run, by part."""
        return {part: value / self._done for part, value in self._cpu_ms.items()} or None


def rate(
    worker: Worker,
    program: BenchProgram,
    concurrency: int,
    seconds: float,
) -> tuple[int, float]:
    """Right answers, and the seconds that they took. Raises what a worker raised."""
    done, failures = itertools.count(), []
    start = threading.Barrier(concurrency + 1)
    ends_s = [0.0]

    def work() -> None:
        try:
            with worker() as run:
                start.wait()
                while time.perf_counter() < ends_s[0]:
                    _demand(run(program.code.replace(NONCE, f"{os.getpid()}-t{next(_numbers)}")), program)
                    next(done)
        except (WrongAnswer, OSError, ValueError) as error:
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    started_s = time.perf_counter()
    ends_s[0] = started_s + seconds
    with contextlib.suppress(threading.BrokenBarrierError):
        start.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return next(done), time.perf_counter() - started_s


def _rounds(seconds: float) -> int:
    return max(1, round(seconds))


def _programs(toolchains: Registry) -> Iterator[tuple[Toolchain, BenchProgram]]:
    for toolchain in toolchains:
        for program in toolchain.bench.programs if toolchain.bench is not None else ():
            yield toolchain, program


def steps(servers: int, toolchains: Registry, runs: int, concurrencies: tuple[int, ...], seconds: float) -> int:
    """How often `progress` is called."""
    programs = len(list(_programs(toolchains)))
    languages = sum(toolchain.bench is not None for toolchain in toolchains)
    return programs * (runs + WARM_UP) + languages * (len(concurrencies) * servers + 1) * _rounds(seconds)


def _run_of(dialect: Dialect, toolchain: Toolchain) -> Run:
    return lambda code: dialect.run(toolchain, code)


def _demand(output: str, program: BenchProgram) -> None:
    if output != program.output:
        raise WrongAnswer(f"{program.name} printed {output[:200]!r} instead of {program.output!r}")
