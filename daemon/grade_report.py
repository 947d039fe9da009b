"""`cellblock grade`: a package's example submissions, with a progress bar while they run and a table at the end."""

import asyncio
import dataclasses
import json
import pathlib
import sys
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from daemon import app
from daemon.grading.examples import Examples, Graded, unpacked
from daemon.grading.grader import Grader
from daemon.grading.problems import Bounds
from daemon.judge.submission import Submission
from daemon.settings import MB, Settings
from daemon.toolchain.registry import Registry

SECONDS = 1e9


async def grade(settings: Settings, path: pathlib.Path, only: pathlib.Path | None, as_json: bool) -> bool:
    """True where every submission got what its folder promises. Prints the results.

    Raises CellblockError for a package that cannot be read or graded.
    """
    console = Console(stderr=True)
    async with unpacked(path) as package, app.own_engine(settings) as (executor, client, toolchains):
        for warning in package.problem.warnings:
            console.print(f"warning: {warning}", style="yellow", highlight=False)
        bounds = Bounds(settings.run_limits().graded, settings.grade_output_mb_max * MB)
        with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("tests", total=None)
            examples = Examples(package, Grader(executor, client), toolchains, bounds, lambda *_: progress.advance(bar))
            cpu_s = (await examples.timing()).limit.seconds
            rows = await _rows(settings, examples, toolchains, only, cpu_s)
    if as_json:
        print(json.dumps(_as_json(cpu_s, rows), indent=2))
    else:
        _print(cpu_s, rows)
    return all(row.is_as_promised for row in rows)


async def _rows(
    settings: Settings, examples: Examples, toolchains: Registry, only: pathlib.Path | None, cpu_s: float
) -> list[Graded]:
    if only is None:
        return [row async for row in examples.run(cpu_s)]
    code = await asyncio.to_thread(only.read_bytes)
    written = Submission(toolchains.find_by_file(only.name), code, settings.run_limits().default, settings.output_bytes)
    return [Graded(only.name, (), await examples.grade_source(only.name, written, cpu_s))]


def _print(cpu_s: float, rows: list[Graded]) -> None:
    table = Table(title=f"time limit {cpu_s:g} s")
    for name in ("submission", "expected", "got", "score", "slowest"):
        table.add_column(name, justify="right" if name in ("score", "slowest") else "left")
    for row in rows:
        table.add_row(row.name, " or ".join(row.expected), *_got(row), style=None if row.is_as_promised else "red")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for row in rows:
        for problem in () if row.result is None else row.result.problems:
            print(f"{row.name}: {problem}")


def _got(row: Graded) -> tuple[str, str, str]:
    result = row.result
    if result is None:
        return (row.got, "", "")
    score = "" if result.score is None else f"{result.score:g}"
    slowest = "" if result.cpu_ns_max is None else f"{result.cpu_ns_max / SECONDS:.3f} s"
    return (row.got, score, slowest)


def _as_json(cpu_s: float, rows: list[Graded]) -> dict[str, Any]:
    return {
        "time_limit": cpu_s,
        "submissions": [
            {
                "name": row.name,
                "expected": list(row.expected),
                "as_promised": row.is_as_promised,
                "skipped": row.skipped,
                "verdict": None if row.result is None else row.result.verdict,
                "score": None if row.result is None else row.result.score,
                "tests": [] if row.result is None else [dataclasses.asdict(test) for test in row.result.tests],
                "problems": [] if row.result is None else list(row.result.problems),
            }
            for row in rows
        ],
    }
