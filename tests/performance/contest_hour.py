"""A contest's hour against a server: what is handed in is graded idle, then under the load of all the teams.

    sudo /var/lib/cellblock/venv/bin/python -m tests.performance.contest_hour --speed 10 --hours 0.5

Submissions arrive as a Poisson process whose rate is BURST times as high in the last BURST_SHARE of the time; the seed
decides all of it. Each has 60 tests. Among the right ones, most take between 40 and 90 % of their CPU limit: the limit is
set from what the same program took idle. Every distinct submission is graded alone, before and after, and must get its
verdict; a verdict that differs under load is listed with its CPU times, and the exit status is 1. A limit that the program
missed once while nothing else ran is too near for this machine, and what comes of it is counted apart: no server can
promise more than the machine keeps. A client that is told 503 comes back after Retry-After. After the contest as many
clients as SATURATING for each core never pause: what a node can carry.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import random
import sys
import threading
import time
import urllib.parse
from typing import Any

from tests.performance import contest_programs as programs
from tests.server import Server

PER_TEAM_HOUR = 4.0
BURST, BURST_SHARE = 4.0, 0.15
HONEST_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the limit that a heavy right submission takes
VERDICTS = {"AC": 20, "heavy": 30, "WA": 25, "TLE": 10, "MLE": 3, "OLE": 2, "RE": 6, "CE": 4}  # per cent
LIMIT_S, CALIBRATION_S = 1.0, 20.0
MEMORY_MB, OUTPUT_KB = 256, 1024
SATURATING = 3
CLIENTS, PATIENCE_S = 256, 600.0
_nonces = itertools.count()


@dataclasses.dataclass(frozen=True)
class Submission:
    """One that several teams may hand in, each with a comment of its own, so that none is compiled already."""

    language: str
    kind: str
    verdict: str  # that it must get; a program of a language that does not compile is RE where its kind is CE
    limit_s: float

    @property
    def name(self) -> str:
        return f"{self.language} {self.kind}"

    def body(self) -> bytes:
        language = programs.LANGUAGES[self.language]
        code = f"{programs.code(language, 'AC' if self.kind.startswith('heavy') else self.kind)}\n{language.comment} {os.getpid()} {next(_nonces)}\n"
        limits = {"cpu_time": self.limit_s, "memory_mb": MEMORY_MB, "output_kb": OUTPUT_KB}
        tests = programs.tests(language, is_heavy=self.kind.startswith("heavy"))
        fields = {"language": self.language, "code": code, "tests": tests, "limits": limits, "stop_on_failure": True}
        return json.dumps(fields).encode()


@dataclasses.dataclass
class Graded:
    """`verdicts` and `cpu_s` have one entry for each test."""

    verdict: str
    verdicts: list[str]
    cpu_s: list[float | None]
    took_s: float = 0.0
    refused: int = 0


class Judge:
    """The server; any thread may ask."""

    def __init__(self, url: str) -> None:
        self._host = urllib.parse.urlsplit(url).netloc

    def grade(self, submission: Submission, due_s: float | None = None) -> Graded:
        """`took_s` counts from `due_s`, so that a client which is late itself cannot hide it."""
        started_s, refused, body = time.monotonic() if due_s is None else due_s, 0, submission.body()
        while True:
            status, headers, answer = self._post(body)
            if status == 200:
                break
            if status != 503:
                sys.exit(f"{submission.name}: {status} {answer}")
            refused += 1
            time.sleep(float(headers.get("Retry-After", "1")))
        tests = answer["tests"]
        verdicts, cpu_s = [test["verdict"] for test in tests], [test["cpu_time"] for test in tests]
        return Graded(answer["verdict"], verdicts, cpu_s, time.monotonic() - started_s, refused)

    def languages(self) -> dict[str, bool]:
        """Those that are offered, and whether each compiles."""
        return {entry["id"]: entry["compiles"] for entry in self._ask("GET", "/languages", None)[2]["languages"]}

    def ask(self, path: str, fields: dict[str, object]) -> Any:
        """The answer, which must be 200."""
        status, _, answer = self._ask("POST", path, json.dumps(fields).encode())
        if status != 200:
            sys.exit(f"{path}: {status} {answer}")
        return answer

    def _post(self, body: bytes) -> tuple[int, Any, Any]:
        return self._ask("POST", "/grade", body)

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, Any, Any]:
        connection = http.client.HTTPConnection(self._host, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())


def distinct(judge: Judge, compiles: dict[str, bool]) -> dict[str, list[Submission]]:
    """All submissions that are handed in, by kind; the limit of a heavy one is what it takes idle, by its share."""
    found = collections.defaultdict(list)
    for name in compiles:
        measured = judge.grade(Submission(name, "heavy", "AC", CALIBRATION_S))
        most_s = max(cpu_s or 0.0 for cpu_s in measured.cpu_s)
        for share in HONEST_SHARES:
            found["heavy"].append(Submission(name, f"heavy {share:.0%}", "AC", round(most_s / share, 4)))
        for verdict in VERDICTS:
            if verdict != "heavy":
                expected = "RE" if verdict == "CE" and not compiles[name] else verdict
                found[verdict].append(Submission(name, verdict, expected, LIMIT_S))
    return found


def arrivals(source: random.Random, teams: int, hours: float) -> list[float]:
    """Seconds of a Poisson process, by thinning one of the highest rate; the mean is PER_TEAM_HOUR."""
    seconds = 3600 * hours
    base_per_s = teams * PER_TEAM_HOUR / 3600 / (1 - BURST_SHARE + BURST * BURST_SHARE)
    at_s = 0.0
    found: list[float] = []
    while True:
        at_s += source.expovariate(BURST * base_per_s)
        if at_s > seconds:
            return found
        rate = BURST if at_s > (1 - BURST_SHARE) * seconds else 1.0
        if source.random() < rate / BURST:
            found.append(at_s)


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def differences(submission: Submission, idle: Graded, loaded: Graded) -> list[str]:
    """A line for each test whose verdict is not what it was idle."""
    return [
        f"{submission.name}, test {number}, limit {submission.limit_s:g} s: idle {one} {_ms(one_s)}, loaded {other} {_ms(other_s)}"
        for number, (one, one_s, other, other_s) in enumerate(
            zip(idle.verdicts, idle.cpu_s, loaded.verdicts, loaded.cpu_s, strict=True), 1
        )
        if one != other
    ]  # fmt: skip


def _ms(cpu_s: float | None) -> str:
    return "not run" if cpu_s is None else f"{cpu_s * 1e3:.1f} ms"


def replay(judge: Judge, due: list[tuple[float, Submission]]) -> list[tuple[Submission, Graded]]:
    """Each is handed in when it is due, whether or not those before were answered."""
    start_s = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        futures = []
        for at_s, submission in due:
            time.sleep(max(0.0, start_s + at_s - time.monotonic()))
            futures.append((submission, clients.submit(judge.grade, submission, start_s + at_s)))
        return [(submission, future.result()) for submission, future in futures]


def saturate(judge: Judge, mix: list[Submission], seconds: float) -> tuple[list[tuple[Submission, Graded]], float]:
    """Clients that never pause go through the mix; the results, and how many there were in a minute."""
    end_s, taken, lock = time.monotonic() + seconds, itertools.cycle(mix), threading.Lock()

    def client() -> list[tuple[Submission, Graded]]:
        found = []
        while time.monotonic() < end_s:
            with lock:
                submission = next(taken)
            found.append((submission, judge.grade(submission)))
        return found

    started_s = time.monotonic()
    count = SATURATING * (os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(count) as clients:
        results = [one for each in [clients.submit(client) for _ in range(count)] for one in each.result()]
    return results, 60 * len(results) / (time.monotonic() - started_s)


def contest(judge: Judge, options: argparse.Namespace) -> bool:
    """True where every verdict is the one that was meant, idle and under load, or its limit is too near."""
    source = random.Random(options.seed)
    wanted = set(programs.LANGUAGES) & set(options.languages)
    compiles = {name: compiles for name, compiles in judge.languages().items() if name in wanted}
    kinds = distinct(judge, compiles)
    started_s = time.monotonic()
    idle = {submission: judge.grade(submission) for kind in kinds.values() for submission in kind}
    mean_cpu_s = sum(sum(cpu or 0 for cpu in graded.cpu_s) for graded in idle.values()) / len(idle)
    print(
        f"{len(idle)} distinct submissions in {', '.join(compiles)}, graded idle in {time.monotonic() - started_s:.0f} s: "
        f"{mean_cpu_s:.2f} s CPU each on average",
        flush=True,
    )

    def chosen() -> Submission:
        return source.choice(kinds[source.choices(list(VERDICTS), list(VERDICTS.values()))[0]])

    due = [(at_s / options.speed, chosen()) for at_s in arrivals(source, options.teams, options.hours)]
    load = os.getloadavg()[0]
    results = replay(judge, due)
    took_s = [graded.took_s for _, graded in results]
    print(
        f"{len(results)} submissions of {options.teams} teams in {options.hours:g} h at speed {options.speed:g} (load before {load:.1f})\n"
        f"time to verdict: p50 {quantile(took_s, 0.5):.2f} s, p95 {quantile(took_s, 0.95):.2f} s, max {max(took_s):.2f} s; "
        f"{sum(graded.refused for _, graded in results)} answers were 503", flush=True,
    )  # fmt: skip
    saturated, per_minute = saturate(judge, [chosen() for _ in range(1000)], options.saturate)
    print(f"at saturation: {per_minute:.0f} submissions a minute on {os.cpu_count()} cores", flush=True)
    again = [(submission, judge.grade(submission)) for submission in kinds["heavy"]]
    slowest_s = _slowest(list(idle.items()) + again)
    return _is_good(results + saturated + again, idle, slowest_s)


def _slowest(graded: list[tuple[Submission, Graded]]) -> dict[str, float]:
    """The most CPU seconds that a heavy program of each language took."""
    slowest_s: dict[str, float] = collections.defaultdict(float)
    for submission, one in graded:
        if submission.kind.startswith("heavy"):
            slowest_s[submission.language] = max(slowest_s[submission.language], *(cpu_s or 0.0 for cpu_s in one.cpu_s))
    return slowest_s


def _is_good(
    everything: list[tuple[Submission, Graded]], idle: dict[Submission, Graded], slowest_s: dict[str, float]
) -> bool:
    """Print every verdict that differs, and how CPU times grew; True where all that differ have a limit too near."""

    def is_too_near(submission: Submission) -> bool:
        return submission.kind.startswith("heavy") and submission.limit_s <= slowest_s[submission.language]

    wrong = [
        f"{submission.name}, limit {submission.limit_s:g} s: idle {graded.verdict}, meant {submission.verdict}"
        for submission, graded in idle.items()
        if graded.verdict != submission.verdict and not is_too_near(submission)
    ]
    found: list[str] = []
    near = 0
    for submission, graded in everything:
        lines = differences(submission, idle[submission], graded)
        if is_too_near(submission):
            near += len(lines)
        else:
            found += lines
    tests = sum(len(graded.verdicts) for _, graded in everything)
    print(f"{len(found)} of {tests} tests have another verdict than idle")
    for line in wrong + found:
        print(f"  {line}")
    for submission in sorted(filter(is_too_near, idle), key=lambda one: one.name):
        print(
            f"too near: {submission.name}, limit {submission.limit_s:g} s: idle it took {slowest_s[submission.language]:g} s"
        )
    if near:
        print(f"{near} tests of those have another verdict than idle")
    _print_inflation(everything, idle)
    return not found and not wrong


def _print_inflation(everything: list[tuple[Submission, Graded]], idle: dict[Submission, Graded]) -> None:
    """How much more CPU the slowest test of the heavy submissions took under load, of what the slowest took idle."""
    ratios = collections.defaultdict(list)
    for submission, graded in everything:
        if submission.kind.startswith("heavy"):
            most, base = (max(cpu_s or 0.0 for cpu_s in one.cpu_s) for one in (graded, idle[submission]))
            ratios[submission.language].append(most / base)
    for name, values in sorted(ratios.items()):
        print(
            f"{name}: CPU of the slowest test, loaded / idle: p50 {quantile(values, 0.5):.3f}, p95 {quantile(values, 0.95):.3f}, "
            f"max {max(values):.3f} ({len(values)} submissions)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a running server; one of our own when absent")
    parser.add_argument("--teams", type=int, default=300)
    parser.add_argument("--hours", type=float, default=1.0, help="of the contest")
    parser.add_argument("--speed", type=float, default=1.0, help="so many times as fast as the clock")
    parser.add_argument("--saturate", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--languages", nargs="+", choices=programs.LANGUAGES, default=list(programs.LANGUAGES))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.url is None:
            server = stack.enter_context(Server())
            options.url = f"http://127.0.0.1:{server.port}"
        is_good = contest(Judge(options.url), options)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
