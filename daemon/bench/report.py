"""What was measured, as a table, as JSON and as a picture."""

import dataclasses
import json
import math
import os
import pathlib
import platform
import time

import pygal
from rich.console import Console
from rich.table import Table

from .measure import BARE, Latency, Throughput
from .observe import Cpu
from .soak import Soak
from .spread import ALONE, LONG_MS, RATIO_MAX, SHORT_MS_MAX, Spread

POINTS = 50  # of a curve
FAIRNESS_WORDS = f"""
alone: one run after the other, and nothing beside it, in turn with the bare command, which shows what the machine
itself spreads (its start counts too). Any other line: beside neighbours that never pause, one graded on each other
core, and one for each core executed without being graded, on all cores.
fair: p95/p50 <= {RATIO_MAX:.2f} where p50 is at least {LONG_MS:g} ms, else p95-p50 <= {SHORT_MS_MAX:g} ms.
p50 x alone: how much longer the same work takes beside such neighbours; a time limit must leave room for it.
"""


def table(console: Console, latencies: list[Latency], throughputs: list[Throughput]) -> None:
    """Medians as multiples of the bare command's median of the same run.

    Rates as multiples of the bare command's rate, of what was seen as multiples of the compiled program's alone.
    """
    bare = {(found.language, found.program): found.median_ms for found in latencies if found.variant == BARE}
    words = ("language", "program", "variant", "asked")
    shown = Table(title="Milliseconds, one request after the other", title_justify="left")
    for name in (*words, "p50", "p95", "p99", "p50 x bare", "p99 x bare", "runs"):
        shown.add_column(name, justify="left" if name in words else "right")
    for found in latencies:
        base = bare[found.language, found.program]
        shown.add_row(
            found.language, found.program, found.variant, found.asked, f"{found.median_ms:.2f}",
            f"{found.quantile_ms(0.95):.2f}", f"{found.quantile_ms(0.99):.2f}", f"{found.median_ms / base:.3f}",
            f"{found.quantile_ms(0.99) / base:.3f}", str(len(found.samples_ms)),
        )  # fmt: skip
    console.print(shown)
    rates = {(found.language, found.asked): found.per_s for found in throughputs if found.variant == BARE}
    shown = Table(title="Right answers a second", title_justify="left")
    for name in (*words, "at once", "per second", "x bare"):
        shown.add_column(name, justify="left" if name in words else "right")
    for rate in throughputs:
        shown.add_row(
            rate.language, rate.program, rate.variant, rate.asked, str(rate.concurrency), f"{rate.per_s:.1f}",
            f"{rate.per_s / rates[rate.language, rate.asked]:.2f}",
        )  # fmt: skip
    console.print(shown)
    _cpu_table(console, [rate for rate in throughputs if rate.cpu_ms is not None])


def _cpu_table(console: Console, rates: list[Throughput]) -> None:
    if not rates:
        return
    shown = Table(title="CPU milliseconds of one run (machine: everything, the client too)", title_justify="left")
    for name in ("language", "variant", "asked", "at once"):
        shown.add_column(name)
    parts = [field.name for field in dataclasses.fields(Cpu)]
    for part in parts:
        shown.add_column(part, justify="right")
    for rate in rates:
        spent = rate.cpu_ms or {}
        figures = (f"{spent[part]:.2f}" for part in parts)
        shown.add_row(rate.language, rate.variant, rate.asked, str(rate.concurrency), *figures)
    console.print(shown)


def soak_table(console: Console, toolchain: str, found: Soak) -> None:
    """The minutes one below the other, then what is held before and after."""
    shown = Table(title=toolchain, title_justify="left")
    for name in ("minute", "per second", "runs", "p50 ms", "p99 ms", "p99 x first"):
        shown.add_column(name, justify="right")
    first = found.minutes[0].p99_ms
    for minute in found.minutes:
        shown.add_row(
            str(minute.number), f"{minute.per_s:.1f}", str(minute.runs), f"{minute.p50_ms:.2f}", f"{minute.p99_ms:.2f}",
            f"{minute.p99_ms / first:.2f}",
        )  # fmt: skip
    console.print(shown)
    shown = Table(title="Held", title_justify="left")
    for name in ("", "before", "after"):
        shown.add_column(name, justify="right" if name else "left")
    for field in dataclasses.fields(found.before):
        shown.add_row(field.name, *(str(getattr(held, field.name)) for held in (found.before, found.after)))
    console.print(shown)


def fairness_table(console: Console, spreads: list[Spread]) -> None:
    """A line for each program and what ran beside it, then what was demanded and what was missed."""
    shown = Table(title="CPU milliseconds of graded runs", title_justify="left")
    for name in ("language", "program", "beside", "runs", "p50", "p95", "max", "p95/p50", "p50 x alone", "fair"):
        shown.add_column(name, justify="left" if name in ("language", "program", "beside", "fair") else "right")
    alone = {(found.language, found.program): found.quantile_ms(0.5) for found in spreads if found.beside == ALONE}
    for found in spreads:
        median_ms = found.quantile_ms(0.5)
        shown.add_row(
            found.language, found.program, found.beside, str(len(found.cpu_ms)), f"{median_ms:.2f}",
            f"{found.quantile_ms(0.95):.2f}", f"{max(found.cpu_ms):.2f}", f"{found.ratio:.3f}",
            f"{median_ms / alone[found.language, found.program]:.3f}", _fair(found),
        )  # fmt: skip
    console.print(shown)
    console.print(FAIRNESS_WORDS)
    bare = {(found.language, found.program): found.ratio for found in spreads if not found.is_ours}
    ours = [found for found in spreads if found.is_ours]
    missed = [found for found in ours if not found.is_fair]
    for found in missed:
        console.print(
            f"missed: {found.language} {found.program}, {found.beside}: {found.target} "
            f"(p95/p50 {found.ratio:.3f}, of the bare command {bare[found.language, found.program]:.3f})"
        )
    console.print(f"{len(ours) - len(missed)} of {len(ours)} lines are fair")


def _fair(found: Spread) -> str:
    if found.is_ours:
        return "yes" if found.is_fair else "NO"
    return "" if found.is_fair else "(no)"


def write_spreads(path: pathlib.Path, spreads: list[Spread]) -> None:
    """As JSON, samples included, and what they were measured on."""
    found = [{**dataclasses.asdict(spread), "target": spread.target, "is_fair": spread.is_fair} for spread in spreads]
    path.write_text(json.dumps({"host": _host(), "spreads": found}, indent=1) + "\n")


def write_json(path: pathlib.Path, latencies: list[Latency], throughputs: list[Throughput]) -> None:
    """Everything, samples included, and what it was measured on."""
    found = {
        "host": _host(),
        "latencies": [dataclasses.asdict(latency) for latency in latencies],
        "throughputs": [dataclasses.asdict(throughput) for throughput in throughputs],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


def _host() -> dict[str, object]:
    return {
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def plot(path: pathlib.Path, latencies: list[Latency]) -> None:
    """Cumulative distributions: the share of runs (%) that were answered within so many milliseconds."""
    chart = pygal.XY(
        title="Share of runs answered within …", x_title="ms, logarithmic", y_title="%", logarithmic=False,
        xrange=None, dots_size=1, width=1000, height=600, truncate_legend=-1, js=[],
        x_value_formatter=lambda x: f"{10**x:.3g}",
    )  # fmt: skip
    for found in latencies:
        points = [(math.log10(found.quantile_ms(share / POINTS)), share * 100 / POINTS) for share in range(POINTS)]
        chart.add(f"{found.language} {found.program}, {found.variant}, {found.asked}", points)
    path.write_bytes(chart.render())
