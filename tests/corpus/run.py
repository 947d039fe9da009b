"""Compares a collection of programs on the bare host with the same programs through a server's API.

    sudo python -m tests.corpus.run http://127.0.0.1:8000 FOLDER [FOLDER ...]

Prints what differs, with both sides, and a summary. Ends with 1 where a program is refused that the bare host runs.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from tests.corpus import bare, programs
from tests.corpus.compare import Ending, Limits, Verdict, judge
from tests.corpus.programs import Program
from tests.corpus.served import Server

SHOWN_CHARACTERS = 600  # of a side's output
KEPT_CHARACTERS = 4000
BARE_RUNS = 4  # of a program that differs: a random choice of three may fall alike twice
TOLD = (Verdict.DIFFERENT, Verdict.REFUSED, Verdict.NO_ANSWER)  # with both sides


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """One program, both sides."""

    program: Program
    verdict: Verdict
    bare: Ending
    served: Ending

    def as_json(self) -> str:
        sides = {name: _cut(ending) for name, ending in (("bare", self.bare), ("served", self.served))}
        return json.dumps(
            {"path": str(self.program.path), "language": self.program.language, "verdict": self.verdict, **sides}
        )


def _cut(ending: Ending) -> dict[str, object]:
    short = dataclasses.replace(ending, stdout=ending.stdout[:KEPT_CHARACTERS], stderr=ending.stderr[-KEPT_CHARACTERS:])
    return dataclasses.asdict(short)


@dataclasses.dataclass(frozen=True, slots=True)
class Sides:
    """Where programs run: on a server, and here."""

    server: Server
    root: pathlib.Path
    group: pathlib.Path | None
    limits: Limits

    def compare(self, program: Program) -> Comparison:
        """Run on both sides; where they differ, on the bare host again until it differs from itself."""
        first = self._bare(program)
        served = self.server.run(program.language, program.code, self.limits.wall_s)
        tries = iter(range(BARE_RUNS - 1))
        again: Ending | None = None
        while judge(first, again, served, self.limits) is Verdict.DIFFERENT and next(tries, None) is not None:
            again = self._bare(program)
        return Comparison(program, judge(first, again, served, self.limits), first, served)

    def _bare(self, program: Program) -> Ending:
        return bare.run(program.language, program.code, self.root, self.limits, self.group)


def compare_all(found: Iterable[Program], jobs: int, sides: Sides) -> Iterator[Comparison]:
    """In the order of the programs, `jobs` at a time."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as threads:
        iterator = iter(found)
        first = [threads.submit(sides.compare, program) for program in itertools.islice(iterator, 4 * jobs)]
        waiting = collections.deque(first)
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(sides.compare, program) for program in itertools.islice(iterator, 1))


def show(comparison: Comparison, out: TextIO) -> None:
    """Both sides, as far as they differ."""
    print(f"{comparison.verdict}: {comparison.program.path}", file=out)
    for name, side in (("bare", comparison.bare), ("server", comparison.served)):
        print(f"  {name}: {side.text()}", file=out)
    if comparison.bare.end == comparison.served.end:
        sides = (comparison.bare.stdout, comparison.served.stdout)
        pairs = enumerate(zip(*sides, strict=False))
        same = next((number for number, (left, right) in pairs if left != right), min(map(len, sides)))
        for name, text in zip(("bare", "server"), sides, strict=True):
            print(f"  {name} from character {same}: {text[max(0, same - 40) : same + SHOWN_CHARACTERS]!r}", file=out)
    else:
        print(f"  bare's stderr: {comparison.bare.stderr[-SHOWN_CHARACTERS:]!r}", file=out)
        print(f"  server's error: {comparison.served.detail[-SHOWN_CHARACTERS:]!r}", file=out)


def summarise(verdicts: collections.Counter[tuple[str, str]], passed: collections.Counter[tuple[str, str]]) -> str:
    """A line for each language, and one for the files that were passed over."""
    lines = []
    for language in sorted({name for name, _ in (*verdicts, *passed)}):
        total = sum(count for (name, _), count in verdicts.items() if name == language)
        parts = ", ".join(f"{verdict} {verdicts[language, verdict]}" for verdict in Verdict)
        lines.append(f"{language}: {total} programs: {parts}")
        reasons = ", ".join(f"{why} {count}" for (name, why), count in sorted(passed.items()) if name == language)
        lines.append(f"{language}: passed over: {reasons or 'nothing'}")
    return "\n".join(lines)


@click.command()
@click.argument("server")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=pathlib.Path))
@click.option("--language", "languages", multiple=True, type=click.Choice(sorted(programs.LANGUAGES.values())))
@click.option("--limit", type=int, help="so many programs of each language at most")
@click.option("--jobs", default=1, show_default=True, help="programs at the same time")
@click.option("--timeout", default=10.0, show_default=True, help="seconds for each run")
@click.option("--json", "json_file", type=click.File("w"), help="a line for each program, as they end")
@click.option("--exclude", type=click.File(), help="a file of path patterns to pass over, one a line")
@click.option(
    "--root", default="/var/lib/cellblock/toolchains", show_default=True, type=click.Path(path_type=pathlib.Path)
)
@click.option(
    "--group", type=click.Path(exists=True, path_type=pathlib.Path), help="memory control group for the bare programs"
)
def main(
    server: str,
    folders: tuple[pathlib.Path, ...],
    languages: tuple[str, ...],
    limit: int | None,
    jobs: int,
    timeout: float,
    json_file: TextIO | None,
    exclude: TextIO | None,
    root: pathlib.Path,
    group: pathlib.Path | None,
) -> None:
    """Compare the programs in FOLDERS on this host with those that SERVER (an address) runs."""
    passed: collections.Counter[tuple[str, str]] = collections.Counter()
    verdicts: collections.Counter[tuple[str, str]] = collections.Counter()
    client = Server(server)
    wanted = frozenset(languages or programs.LANGUAGES.values())
    excluded = [line.strip() for line in exclude if line.strip()] if exclude else []
    found = _limited(programs.load(programs.find(folders, wanted), excluded, passed), limit)
    for comparison in compare_all(found, jobs, Sides(client, root, group, client.limits(timeout))):
        verdicts[comparison.program.language, comparison.verdict] += 1
        if json_file:
            print(comparison.as_json(), file=json_file, flush=True)
        if comparison.verdict in TOLD:
            show(comparison, sys.stdout)
    print(summarise(verdicts, passed))
    sys.exit(1 if any(verdicts[language, Verdict.REFUSED] for language in wanted) else 0)


def _limited(found: Iterable[Program], limit: int | None) -> Iterator[Program]:
    counts: collections.Counter[str] = collections.Counter()
    for program in found:
        counts[program.language] += 1
        if limit is None or counts[program.language] <= limit:
            yield program


if __name__ == "__main__":
    main()
