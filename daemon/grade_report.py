"""`cellblock grade`: a package's example submissions, with a progress bar while they run and a table at the end."""

import asyncio
import dataclasses
import io
import json
import pathlib
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from daemon import app, launch
from daemon.grading import problems
from daemon.grading.examples import Examples, Graded, unpacked
from daemon.grading.grader import Grader
from daemon.grading.packages.expectations import ACCEPTED
from daemon.grading.packages.reading import Package
from daemon.grading.problems import Bounds
from daemon.grading.task import TestResult
from daemon.grading.verdicts import Verdict
from daemon.judge.submission import Submission
from daemon.settings import MB, Settings
from daemon.terminal import legible, say
from daemon.toolchain.registry import Registry

SECONDS = 1e9
PIPE_COLUMNS = 140
ANY_RUN = {Verdict.AC, Verdict.WA, Verdict.TLE, Verdict.RE, Verdict.MLE, Verdict.OLE}


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. `only`: a submission of one's own, in place of the examples. `within`: where the
    package's links may lead, None for itself alone."""

    path: pathlib.Path
    only: pathlib.Path | None
    within: pathlib.Path | None
    as_json: bool


async def grade(settings: Settings, request: Request) -> bool:
    """True where every submission got what its folder promises. Prints the results.

    Raises CellblockError for a package that cannot be read or graded, before anything of it is run.
    """
    run = settings.run_limits()
    bounds = Bounds(run.graded, settings.grade_output_mb_max * MB, run.judge_bytes)
    async with unpacked(request.path, request.within) as package:
        _warn(package.problem.warnings)
        toolchains = launch.load_registry(settings)
        await asyncio.to_thread(problems.check, package.problem, package.open, toolchains, bounds)
        cpu_s, rows = await _graded(settings, bounds, package, request.only)
    if request.as_json:
        say(json.dumps(_as_json(cpu_s, rows), indent=2))
    else:
        _print(cpu_s, rows)
    return all(row.is_as_promised for row in rows)


def _warn(sentences: tuple[str, ...]) -> None:
    for sentence in sentences:
        Console(stderr=True).print(Text(legible(f"warning: {sentence}"), "yellow"))


async def _graded(
    settings: Settings, bounds: Bounds, package: Package, only: pathlib.Path | None
) -> tuple[float, list[Graded]]:
    examples = package.problem.submissions
    timed = sum(one.folder == ACCEPTED for one in examples) if package.problem.timing.limit_s is None else 0
    tests = len(package.problem.cases)
    total = tests * (timed + (len(examples) if only is None else 1))
    async with app.own_engine(settings) as (executor, client, toolchains):
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("", total=total)

            def on_test(name: str, _: TestResult) -> None:
                progress.update(bar, advance=1, description=escape(legible(name)))

            grader = Grader(executor, client, settings.tests_at_once)
            graded = Examples(package, grader, toolchains, bounds, on_test)
            cpu_s = (await graded.timing()).limit.seconds
            _warn(problems.cuts_of(package.problem, cpu_s, bounds))
            if only is not None:
                return cpu_s, [await _one(settings, graded, toolchains, only, cpu_s)]
            rows = []
            async for row in graded.run(cpu_s):
                rows.append(row)
                progress.update(bar, completed=tests * (timed + len(rows)))
            return cpu_s, rows


async def _one(
    settings: Settings, examples: Examples, toolchains: Registry, only: pathlib.Path, cpu_s: float
) -> Graded:
    code = await asyncio.to_thread(only.read_bytes)
    written = Submission(toolchains.find_by_file(only.name), code, settings.run_limits().default, settings.output_bytes)
    return Graded(only.name, None, await examples.grade_source(only.name, written, cpu_s))


def _print(cpu_s: float, rows: list[Graded]) -> None:
    table = Table(title=f"time limit {cpu_s:g} s")
    for name in ("submission", "promise"):
        table.add_column(name, no_wrap=True)
    for name in ("expected", "got"):
        table.add_column(name, overflow="fold")
    for name in ("score", "slowest"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        got = "not run" if row.result is None else row.got
        cells = (row.name, _promise(row), _expected(row), got, *_figures(row))
        table.add_row(*(Text(legible(cell)) for cell in cells), style=_style(row))
    is_terminal, drawn = sys.stdout.isatty(), io.StringIO()
    Console(file=drawn, force_terminal=is_terminal, width=None if is_terminal else PIPE_COLUMNS).print(table)
    say(drawn.getvalue().rstrip("\n"))
    for row in rows:
        for sentence in _why(row):
            say(legible(f"{row.name}: {sentence}"))
    counts = [sum(_promise(row) == word for row in rows) for word in ("kept", "broken")]
    not_run = sum(row.result is None for row in rows)
    say(f"{counts[0]} kept, {counts[1]} broken, {not_run} not run")


def _expected(row: Graded) -> str:
    return "anything" if set(row.verdicts) >= ANY_RUN else " or ".join(row.verdicts)


def _promise(row: Graded) -> str:
    if row.result is None or not row.verdicts:
        return ""
    return "kept" if row.is_as_promised else "broken"


def _style(row: Graded) -> str | None:
    return "red" if not row.is_as_promised else "dim" if row.result is None else None


def _figures(row: Graded) -> tuple[str, str]:
    result = row.result
    if result is None:
        return ("", "")
    score = "" if result.score is None else f"{result.score:g}"
    return (score, "" if result.cpu_ns_max is None else f"{result.cpu_ns_max / SECONDS:.3f} s")


def _why(row: Graded) -> list[str]:
    """Why it was not run, what the package did against its format, why a promise is broken."""
    result = row.result
    if result is None:
        return [row.got]
    sentences = [*result.problems, *row.remarks]
    if not row.is_as_promised:
        test = next((one for one in result.tests if one.verdict is result.verdict), None)
        said = result.compilation.error if result.compilation else test and (test.reason or test.message)
        sentences += [f"{row.got}: {said}"] if said else []
    return sentences


def _as_json(cpu_s: float, rows: list[Graded]) -> dict[str, Any]:
    return {
        "time_limit": cpu_s,
        "submissions": [
            {
                "name": row.name,
                "expected": list(row.verdicts),
                "as_promised": row.is_as_promised,
                "skipped": row.skipped,
                "verdict": None if row.result is None else row.result.verdict,
                "score": None if row.result is None else row.result.score,
                "tests": [] if row.result is None else [dataclasses.asdict(test) for test in row.result.tests],
                "problems": [] if row.result is None else [*row.result.problems, *row.remarks],
            }
            for row in rows
        ],
    }
