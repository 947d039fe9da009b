"""What `cellblock doctor` prints, line by line while it is found."""

import asyncio
import collections
import time

import click

from daemon import attack as attacks
from daemon import doctor, host_walls
from daemon.attack.verdict import Row, State
from daemon.finding import Finding, Grade
from daemon.settings import Settings
from daemon.terminal import legible

COLOURS = {Grade.OK: "green", Grade.UNKNOWN: "cyan", Grade.WARN: "yellow", Grade.FAIL: "red"}
STATE_COLOURS = {
    State.SHUT: "green", State.ACCEPTED: "yellow", State.NOT_TRIED: "cyan", State.OPEN: "red", State.FAILED: "red",
}  # fmt: skip
INDENT = " " * 19


def examination(settings: Settings) -> bool:
    """True where nothing fails."""
    grades = [_told(finding) for finding in doctor.examine(settings)]
    return Grade.FAIL not in grades


def attack(settings: Settings) -> bool:
    """True where nothing is open and every probe could try. Raises as attack.rows."""
    for finding in host_walls.examine():
        _told(finding)
    return asyncio.run(_attack(settings))


async def _attack(settings: Settings) -> bool:
    started_s = time.monotonic()
    counts: collections.Counter[State] = collections.Counter()
    is_well = True
    async for row in attacks.rows(settings):
        _say_row(row)
        counts[row.state] += 1
        is_well = is_well and not row.is_bad
    told = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    click.echo(
        f"\n{told}, in {time.monotonic() - started_s:.1f} s. docs/threats.md has all rows, and which are tried here."
    )
    return is_well


def _told(finding: Finding) -> Grade:
    grade = click.style(f"{finding.grade:4}", fg=COLOURS[finding.grade])
    click.echo(f"{grade}  {finding.name:12} {finding.fact}")
    if finding.hint:
        click.echo(f"{INDENT} hint: {finding.hint}")
    return finding.grade


def _say_row(row: Row) -> None:
    click.echo(f"{row.threat:4}  {click.style(f'{row.state:9}', fg=STATE_COLOURS[row.state])}    {row.tried}")
    if row.why:
        click.echo(f"{INDENT} {legible(row.why)}")
    if row.remedy:
        click.echo(f"{INDENT} remedy: {row.remedy}")
