"""Puts one benchmark together: which servers, which programs, a progress bar while it runs."""

import contextlib
import http.client
import subprocess

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from daemon import launch
from daemon.settings import Settings

from . import measure, servers
from .dialects import DIALECTS
from .measure import Latency, Open, Throughput


def run(
    settings: Settings, url: str | None, dialect: str, runs: int, concurrencies: tuple[int, ...], seconds: float
) -> tuple[list[Latency], list[Throughput]]:
    """Raises CannotBench, WrongAnswer."""
    toolchains = launch.load_registry(settings)
    with contextlib.ExitStack() as stack:
        urls = {dialect: url} if url is not None else {
            "warm": stack.enter_context(servers.served("warm")),
            "cold": stack.enter_context(servers.served("cold", **servers.COLD)),
        }  # fmt: skip
        opens: dict[str, Open] = {name: _opener(dialect, found) for name, found in urls.items()}
        columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = stack.enter_context(Progress(*columns, transient=True))
        task = bar.add_task("", total=measure.steps(len(opens), toolchains, runs, concurrencies))

        def progress(what: str) -> None:
            bar.update(task, advance=1, description=what)

        root = settings.toolchain_root
        try:
            return (
                list(measure.latencies(opens, toolchains, root, runs, progress)),
                list(measure.throughputs(opens, toolchains, root, concurrencies, seconds, progress)),
            )
        except subprocess.CalledProcessError as error:
            raise servers.CannotBench(f"{error}: {(error.stderr or error.stdout)[:500]}") from error
        except (OSError, http.client.HTTPException) as error:
            raise servers.CannotBench(f"{', '.join(urls.values())}: {error!r}") from error


def _opener(dialect: str, url: str) -> Open:
    return lambda: DIALECTS[dialect](url)
