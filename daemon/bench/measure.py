"""Measures: latencies of all variants in turn, so that a noisy host is noisy for each, and right answers a second."""

import collections
import contextlib
import dataclasses
import enum
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
ROW = 5  # so many requests in a row, in every fifth round
REST_S = 0.2  # after those: the jails that replace theirs start, beside which nobody else is measured
BARE = "bare"
_numbers = itertools.count()  # of programs, so that each is a new one

Run = Callable[[str], str]
Progress = Callable[[str], None]
Open = Callable[[], Dialect]
Worker = Callable[[], contextlib.AbstractContextManager[Run]]


class Asked(enum.StrEnum):
    """What a server is asked for: a program that is new to it, five such in a row, or one that it has compiled."""

    NEW = "new"
    IN_A_ROW = "five in a row"
    SEEN = "seen"


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """A server to measure. One that `keeps` nothing ready is asked for new programs alone.

    Of a server of our own, `served`, the CPU time is read.
    """

    open: Open
    keeps: bool = True
    served: Served | None = None

    def asked(self, toolchain: Toolchain) -> tuple[Asked, ...]:
        """All that it is asked for."""
        if not self.keeps:
            return (Asked.NEW,)
        return (Asked.NEW, Asked.IN_A_ROW, Asked.SEEN) if toolchain.compiles else (Asked.NEW, Asked.IN_A_ROW)


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one variant of one program, from the request to the whole answer."""

    language: str
    program: str
    variant: str
    asked: Asked
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
    asked: Asked
    concurrency: int
    per_s: float
    cpu_ms: dict[str, float] | None = None  # of one run, by part of a server of our own


def quantile(ordered: list[float], share: float) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latencies(
    subjects: dict[str, Subject], toolchains: Registry, root: pathlib.Path, runs: int, progress: Progress
) -> Iterator[Latency]:
    """All variants in turn, servers by their names, and the bare command. Raises WrongAnswer, OSError."""
    for toolchain, program in _programs(toolchains):
        with contextlib.ExitStack() as stack:
            variants: dict[tuple[str, Asked], Run] = {}
            for name, subject in subjects.items():
                dialect = stack.enter_context(contextlib.closing(subject.open()))
                variants |= {
                    (name, asked): _run_of(dialect, toolchain, program, asked) for asked in subject.asked(toolchain)
                }
            variants[BARE, Asked.NEW] = stack.enter_context(bare(toolchain, root)).run
            samples_ms: dict[tuple[str, Asked], list[float]] = {variant: [] for variant in variants}
            for number in range(-WARM_UP, runs):
                for (name, asked), run in variants.items():
                    if asked is Asked.IN_A_ROW and number % ROW:
                        continue
                    took_ms = [_took_ms(run, program) for _ in range(ROW if asked is Asked.IN_A_ROW else 1)]
                    if number >= 0:
                        samples_ms[name, asked] += took_ms
                    if asked is Asked.IN_A_ROW:
                        time.sleep(REST_S)
                progress(f"{toolchain.id} {program.name}")
            for (name, asked), found in samples_ms.items():
                yield Latency(toolchain.id, program.name, name, asked, tuple(found))


def _took_ms(run: Run, program: BenchProgram) -> float:
    """Of a program that is new, unless `run` takes another. Raises WrongAnswer, OSError."""
    code = _new(program)
    started_s = time.perf_counter()
    output = run(code)
    took_ms = (time.perf_counter() - started_s) * 1e3
    _demand(output, program)
    return took_ms


def throughputs(
    subjects: dict[str, Subject], toolchains: Registry, root: pathlib.Path, concurrencies: tuple[int, ...],
    seconds: float, progress: Progress,
) -> Iterator[Throughput]:  # fmt: skip
    """Of each language's first program, all variants in turn in rounds of about a second.

    The bare command by `xargs -P`, as often at once as there are cores. Raises WrongAnswer, OSError.
    """
    rounds = _rounds(seconds)
    cores = os.cpu_count() or 1
    for toolchain in toolchains:
        if toolchain.bench is None:
            continue
        program = toolchain.bench.programs[0]
        counts = {variant: _Count() for variant in _at_once(subjects, toolchain, concurrencies)}
        bare_per_s: dict[Asked, list[float]] = {asked: [] for asked in _compiled_or_new(toolchain)}
        for _ in range(rounds):
            for (name, asked, concurrency), count in counts.items():
                count.measure(subjects[name], toolchain, program, asked, concurrency, seconds / rounds)
                progress(f"{toolchain.id} x {concurrency}")
            for asked, found in bare_per_s.items():
                is_seen = asked is Asked.SEEN
                found.append(bare_rate(toolchain, root, program, cores, seconds / rounds, is_seen=is_seen))
                progress(f"{toolchain.id} {BARE}")
        for (name, asked, concurrency), count in counts.items():
            yield Throughput(toolchain.id, program.name, name, asked, concurrency, count.per_s, count.cpu_ms)
        for asked, found in bare_per_s.items():
            yield Throughput(toolchain.id, program.name, BARE, asked, cores, statistics.mean(found))


def _compiled_or_new(toolchain: Toolchain) -> tuple[Asked, ...]:
    return (Asked.NEW, Asked.SEEN) if toolchain.compiles else (Asked.NEW,)


def _at_once(
    subjects: dict[str, Subject], toolchain: Toolchain, concurrencies: tuple[int, ...]
) -> list[tuple[str, Asked, int]]:
    """The servers' variants of a throughput."""
    return [
        (name, asked, concurrency)
        for asked in _compiled_or_new(toolchain)
        for concurrency in concurrencies
        for name, subject in subjects.items()
        if asked in subject.asked(toolchain)
    ]


class _Count:
    """Sums of one variant's rounds."""

    def __init__(self) -> None:
        self._done, self._seconds = 0, 0.0
        self._cpu_ms: dict[str, float] = collections.defaultdict(float)

    def measure(
        self, subject: Subject, toolchain: Toolchain, program: BenchProgram, asked: Asked, concurrency: int,
        seconds: float,
    ) -> None:  # fmt: skip
        """One round. Raises WrongAnswer, OSError."""

        @contextlib.contextmanager
        def worker() -> Iterator[Run]:
            with contextlib.closing(subject.open()) as dialect:
                run = _run_of(dialect, toolchain, program, asked)
                if asked is Asked.SEEN:
                    run("")  # compiles it
                yield run

        before = None if subject.served is None else observe.cpu(subject.served)
        done, taken_s = rate(worker, program, concurrency, seconds)
        self._done += done
        self._seconds += taken_s
        if subject.served is not None and before is not None:
            for part, value in observe.cpu(subject.served).per_run_ms(before, 1).items():
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
    """Right answers, and the seconds that they took once every worker was there. Raises what a worker raised."""
    done, failures, ends_s = itertools.count(), [], []
    started_s = 0.0

    def begin() -> None:
        nonlocal started_s
        started_s = time.perf_counter()

    start = threading.Barrier(concurrency, begin)

    def work() -> None:
        try:
            with worker() as run:
                start.wait()
                while time.perf_counter() < started_s + seconds:
                    _demand(run(_new(program)), program)
                    next(done)
                ends_s.append(time.perf_counter())
        except threading.BrokenBarrierError:
            pass  # another worker failed
        except (WrongAnswer, OSError, ValueError) as error:
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return next(done), max(ends_s) - started_s


def _rounds(seconds: float) -> int:
    return max(1, round(seconds))


def _programs(toolchains: Registry) -> Iterator[tuple[Toolchain, BenchProgram]]:
    for toolchain in toolchains:
        for program in toolchain.bench.programs if toolchain.bench is not None else ():
            yield toolchain, program


def steps(
    subjects: dict[str, Subject], toolchains: Registry, runs: int, concurrencies: tuple[int, ...], seconds: float
) -> int:
    """How often `progress` is called."""
    programs = len(list(_programs(toolchains)))
    at_once = sum(
        len(_at_once(subjects, toolchain, concurrencies)) + len(_compiled_or_new(toolchain))
        for toolchain in toolchains
        if toolchain.bench is not None
    )
    return programs * (runs + WARM_UP) + at_once * _rounds(seconds)


def _run_of(dialect: Dialect, toolchain: Toolchain, program: BenchProgram, asked: Asked) -> Run:
    """Runs the code that it is given, or where a program is asked for that was seen, the same one every time."""
    if asked is Asked.SEEN:
        seen = program.code.replace(NONCE, "seen")
        return lambda _: dialect.again(toolchain, seen)
    return lambda code: dialect.run(toolchain, code)


def _new(program: BenchProgram) -> str:
    return program.code.replace(NONCE, f"{os.getpid()}-{next(_numbers)}")


def _demand(output: str, program: BenchProgram) -> None:
    if output != program.output:
        raise WrongAnswer(f"{program.name} printed {output[:200]!r} instead of {program.output!r}")
