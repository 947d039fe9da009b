"""Puts one benchmark together: which servers, which programs, a progress bar while it runs."""

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Iterator

import httptools
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from daemon import launch
from daemon.settings import Settings
from daemon.toolchain.schema import BenchProgram, Toolchain

from . import fairness, measure, servers
from .dialects import DIALECTS, Cellblock
from .measure import Latency, Open, Run, Subject, Throughput
from .observe import Served
from .soak import CAPACITY_S, Soak, soak
from .spread import Spread


def run(
    settings: Settings, url: str | None, dialect: str, runs: int, concurrencies: tuple[int, ...], seconds: float,
    *, with_own: bool,
) -> tuple[list[Latency], list[Throughput]]:  # fmt: skip
    """The server that is named, or two of our own: one as it is shipped and a cold one. `with_own`: beside the one that
    is named, the first of those. Raises CannotBench, WrongAnswer.
    """
    toolchains = launch.load_registry(settings)
    with contextlib.ExitStack() as stack:
        subjects = {}
        if url is None or with_own:
            subjects["warm"] = _own(stack.enter_context(servers.served("warm")), keeps=True)
        if url is None:
            subjects["cold"] = _own(stack.enter_context(servers.served("cold", **servers.COLD)), keeps=False)
        else:
            subjects[dialect] = Subject(_opener(dialect, url))
        bar = stack.enter_context(_bar())
        task = bar.add_task("", total=measure.steps(subjects, toolchains, runs, concurrencies, seconds))

        def progress(what: str) -> None:
            bar.update(task, advance=1, description=what)

        root = settings.toolchain_root
        with _cannot(url or ", ".join(subjects)):
            return (
                list(measure.latencies(subjects, toolchains, root, runs, progress)),
                list(measure.throughputs(subjects, toolchains, root, concurrencies, seconds, progress)),
            )


def run_fairness(settings: Settings, url: str | None, runs: int) -> list[Spread]:
    """The spread of CPU times of graded runs, on this server or on one of our own.

    Raises CannotBench, WrongAnswer.
    """
    toolchains = launch.load_registry(settings)
    with contextlib.ExitStack() as stack:
        if url is None:
            url = stack.enter_context(servers.served("fairness")).url
        bar = stack.enter_context(_bar())
        task = bar.add_task("", total=fairness.steps(toolchains, runs))

        def progress(what: str) -> None:
            bar.update(task, advance=1, description=what)

        with _cannot(url):
            return list(fairness.spreads(url, toolchains, settings.toolchain_root, runs, progress))


def run_soak(settings: Settings, minutes: float) -> list[tuple[str, Soak]]:
    """Each language's first program at a steady share of what a server of our own can do.

    Raises CannotBench, WrongAnswer.
    """
    toolchains = [toolchain for toolchain in launch.load_registry(settings) if toolchain.bench is not None]
    found = []
    for toolchain in toolchains:
        assert toolchain.bench is not None
        program = toolchain.bench.programs[0]
        environment = {"CELLBLOCK_LANGUAGES": json.dumps([toolchain.id])}
        with servers.served("soak", **environment) as served, _cannot(served.url), _bar() as bar:
            task = bar.add_task(f"{toolchain.id}, {minutes:g} minutes", total=None)

            @contextlib.contextmanager
            def worker(served: Served = served, toolchain: Toolchain = toolchain) -> Iterator[Run]:
                with contextlib.closing(Cellblock(served.url)) as dialect:
                    yield lambda code: dialect.run(toolchain, code)

            def capacity_per_s(worker: measure.Worker = worker, program: BenchProgram = program) -> float:
                seconds = min(CAPACITY_S, 60 * minutes)
                done, taken_s = measure.rate(worker, program, 2 * (os.cpu_count() or 1), seconds)
                return done / taken_s

            soaked = soak(
                served, toolchain, program, capacity_per_s, 60 * minutes, functools.partial(bar.advance, task)
            )
            found.append((toolchain.id, soaked))
    return found


@contextlib.contextmanager
def _cannot(what: str) -> Iterator[None]:
    try:
        yield
    except subprocess.CalledProcessError as error:
        raise servers.CannotBench(f"{error}: {(error.stderr or error.stdout or b'')[:500]!r}") from error
    except (OSError, httptools.HttpParserError) as error:
        raise servers.CannotBench(f"{what}: {error!r}") from error


def _bar() -> Progress:
    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True)


def _own(served: Served, *, keeps: bool) -> Subject:
    return Subject(_opener("cellblock", served.url), keeps, served)


def _opener(dialect: str, url: str) -> Open:
    return lambda: DIALECTS[dialect](url)
