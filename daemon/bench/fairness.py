"""Runs programs graded, alone and beside neighbours, and keeps the CPU time of each run: `cellblock bench --fairness`.

The first condition is the bare command, in turn with the second, a graded run alone. Under each other, as many
neighbours are graded as leave one core, and besides one for each core is executed without being graded, on the same
cores as what is measured.
"""

import contextlib
import functools
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator

from daemon.sandbox.errors import OurFault
from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import BenchProgram, Neighbour, Toolchain

from .bare import Bare, bare
from .connection import Connection
from .dialects import Cellblock, WrongAnswer
from .measure import Progress
from .spread import ALONE, BARE, Spread

SAME = "its own kind"
CPU_LIMIT_S, MEMORY_MB = 20.0, 512  # of what is measured
NEIGHBOUR_CPU_S, NEIGHBOUR_WALL_S, NEIGHBOUR_MB = 0.5, 1.0, 128
PAUSE_S = 0.05  # of a neighbour that was refused
WARM_UP = 2

Ask = Callable[[Connection], tuple[int, bytes]]


def spreads(url: str, toolchains: Registry, root: pathlib.Path, runs: int, progress: Progress) -> Iterator[Spread]:
    """All programs under all conditions; `root` is the folder of the toolchains' roots.

    Raises WrongAnswer, OSError, CalledProcessError."""
    worst = [(toolchain, neighbour) for toolchain in toolchains for neighbour in toolchain.fairness.neighbours]
    for toolchain in toolchains:
        for program in toolchain.fairness.programs:
            grade = functools.partial(_cpu_ms, toolchain, program)
            conditions: dict[str, list[Ask]] = {SAME: _both(toolchain, program)}
            conditions |= {neighbour.name: _both(language, neighbour) for language, neighbour in worst}
            with contextlib.closing(Cellblock(url)) as dialect, bare(toolchain, root) as command:
                yield from _alone(toolchain, program, functools.partial(grade, dialect), command, runs, progress)
            for name, kinds in conditions.items():
                with beside(url, kinds), contextlib.closing(Cellblock(url)) as dialect:
                    for _ in range(WARM_UP):
                        grade(dialect)
                    samples = []
                    for _ in range(runs):
                        samples.append(grade(dialect))
                        progress(f"{toolchain.id} {program.name}")
                yield Spread(toolchain.id, program.name, name, tuple(samples))


def steps(toolchains: Registry, runs: int) -> int:
    """How often `progress` is called."""
    programs = sum(len(toolchain.fairness.programs) for toolchain in toolchains)
    conditions = 3 + sum(len(toolchain.fairness.neighbours) for toolchain in toolchains)
    return programs * conditions * runs


def _alone(
    toolchain: Toolchain,
    program: BenchProgram,
    grade: Callable[[], float],
    command: Bare,
    runs: int,
    progress: Progress,
) -> Iterator[Spread]:
    """The bare command and graded runs, in turn, so that what the machine does at the time meets both."""
    if command.run(program.code).split() != program.output.split():
        raise WrongAnswer(f"{toolchain.id} {program.name}: the bare command prints something else")
    for _ in range(WARM_UP):
        grade()
    samples: dict[str, list[float]] = {BARE: [], ALONE: []}
    for _ in range(runs):
        samples[BARE].append(command.again()[1] * 1e3)
        progress(f"{toolchain.id} {program.name}")
        samples[ALONE].append(grade())
        progress(f"{toolchain.id} {program.name}")
    for name, cpu_ms in samples.items():
        yield Spread(toolchain.id, program.name, name, tuple(cpu_ms))


def _cpu_ms(toolchain: Toolchain, program: BenchProgram, dialect: Cellblock) -> float:
    """Of one graded run."""
    answer = dialect.request("POST", "/grade", _graded(toolchain, program.code, program.output, CPU_LIMIT_S, MEMORY_MB))
    (test,) = answer["tests"]
    if answer["verdict"] != "AC" or test["cpu_time"] is None:
        raise WrongAnswer(f"{toolchain.id} {program.name}: {answer}")
    return float(test["cpu_time"]) * 1e3


def _graded(toolchain: Toolchain, code: str, expected: str, cpu_s: float, memory_mb: int) -> dict[str, object]:
    limits = {"cpu_time": cpu_s, "memory_mb": memory_mb}
    return {"language": toolchain.id, "code": code, "tests": [{"expected": expected}], "limits": limits}


def _both(toolchain: Toolchain, neighbour: BenchProgram | Neighbour) -> list[Ask]:
    """What neighbours of one kind ask for again and again: the first of the two graded, the other not."""
    memory_mb = NEIGHBOUR_MB if isinstance(neighbour, Neighbour) else MEMORY_MB
    graded = _graded(toolchain, neighbour.code, "", NEIGHBOUR_CPU_S, memory_mb)
    executed = {
        "language": toolchain.id, "code": neighbour.code, "timeout": NEIGHBOUR_WALL_S, "memory_limit_mb": memory_mb,
    }  # fmt: skip
    return [
        lambda connection: connection.request("POST", "/grade", graded),
        lambda connection: connection.request("POST", "/execute", executed),
    ]


@contextlib.contextmanager
def beside(url: str, kinds: list[Ask]) -> Iterator[None]:
    """Neighbours, each of which has had its first answer before the body begins. Raises what ended one of them."""
    count = os.cpu_count() or 1
    asks = [kinds[0]] * max(1, count - 1) + [kinds[1]] * count if kinds else []
    stop, running, failures = threading.Event(), threading.Semaphore(0), []

    def live(ask: Ask) -> None:
        try:
            with contextlib.closing(Connection(url)) as connection:
                while not stop.is_set():
                    status, answer = ask(connection)
                    if status == 503:
                        time.sleep(PAUSE_S)
                    elif status >= 300:
                        raise WrongAnswer(f"{status}: {answer[:500]!r}")
                    running.release()
        except (OSError, OurFault) as error:
            failures.append(error)
            running.release()

    threads = [threading.Thread(target=live, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    for _ in threads:
        running.acquire()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
