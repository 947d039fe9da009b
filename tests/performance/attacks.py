"""What one client notices while another attacks: latency, refusals, memory, deaths, and what is left afterwards.

    sudo ./bootstrap attacks [--rounds 2] [--seconds 6] [--only NAME ...]

The honest client has an address of its own and sends one request after the other, of Python, TypeScript and Rust in
turn, each program a new one. Of each attack (attackers.py) the quiet and the attacked periods alternate, so that both
meet the same minutes of a noisy machine. `x` is the attacked p95 by the quiet one; `python x` and so on are those of
one language. It ends with what must hold of every attack; the exit status is 0 where all of it does.
"""

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

from daemon.bench.measure import quantile
from tests import posture
from tests.performance.attackers import attacks
from tests.performance.steady_load import Connection, Verdicts
from tests.server import Server, until

ADDRESS = "127.0.0.2"
BEGIN_S, SAMPLE_S, REST_S = 2.0, 0.02, 20.0
MB = 1 << 20
SLOWER_MAX, HTTP_MB_MAX = 3.0, 400.0  # the targets
PROGRAMS = {
    "python": "print('{}')",
    "typescript": "const text: string = '{}';\nconsole.log(text);",
    "rust": 'fn main() {{ println!("{}"); }}',
}
Took = dict[str, list[float]]  # milliseconds by language
_numbers = itertools.count()


@dataclasses.dataclass(slots=True)
class Seen:
    """What the honest client and the host show of one attack."""

    quiet: Took = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    attacked: Took = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    wrong: list[str] = dataclasses.field(default_factory=list)
    attempts: int = 0  # of the attacker, that came to an end
    http_mb: float = 0.0
    died: list[str] = dataclasses.field(default_factory=list)
    left: str = ""

    def times(self, language: str | None = None) -> float:
        """The attacked p95 by the quiet one."""
        return p_ms(self.attacked, 0.95, language) / p_ms(self.quiet, 0.95, language)


def p_ms(took: Took, part: float, language: str | None = None) -> float:
    """Not a number where nothing was answered."""
    found = sorted(took[language] if language else [one for all_of_it in took.values() for one in all_of_it])
    return quantile(found, part) if found else float("nan")


class Honest:
    """One client with one connection, opened anew where it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None

    async def go_on(self, seconds: float, into: Took, wrong: list[str]) -> None:
        """One request after the other; `wrong` says of each that was not answered rightly how it was."""
        end_s = time.perf_counter() + seconds
        for language in itertools.cycle(PROGRAMS):
            if (began_s := time.perf_counter()) > end_s:
                return
            failure = await self._one(language)
            into[language].append((time.perf_counter() - began_s) * 1e3)
            if failure:
                wrong.append(failure)

    async def _one(self, language: str) -> str:
        """Empty where the answer is right."""
        said = f"{next(_numbers)}-{os.getpid()}"
        body = json.dumps({"language": language, "code": PROGRAMS[language].format(said)})
        head = (
            "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            if self._connection is None or not self._connection.is_open:
                opened = await asyncio.get_running_loop().create_connection(
                    Connection, "127.0.0.1", self._port, local_addr=(ADDRESS, 0)
                )
                self._connection = cast(Connection, opened[1])
            status, _, answer = await self._connection.exchange((head + body).encode())
        except OSError as error:
            return repr(error)
        found = json.loads(answer)
        is_right = status == 200 and found["output"] == f"{said}\n"
        return "" if is_right else f"{status} {found.get('code', found.get('reason'))}"

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            await asyncio.sleep(0)  # a transport is closed one turn later


@contextlib.contextmanager
def attacked(name: str, port: int, seen: Seen) -> Iterator[None]:
    """By a process of its own; at the end of the block it is killed, and its connections end."""
    command = [sys.executable, "-m", "tests.performance.attackers", name, str(port)]
    with tempfile.TemporaryFile() as done:
        process = subprocess.Popen(command, stdout=done, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()
            seen.attempts += os.fstat(done.fileno()).st_size


@contextlib.contextmanager
def memory_watched(server: Server, seen: Seen) -> Iterator[None]:
    process, done = server.http, threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            seen.http_mb = max(seen.http_mb, process.memory_info().rss / MB)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def lives(server: Server) -> dict[str, list[int]]:
    """The processes that must outlive every attack."""
    kinds: dict[str, Callable[[], list[int]]] = {
        "http": lambda: [one.pid for one in server.processes("http")],
        "keeper": lambda: [one.pid for one in server.processes("daemon.keeper")],
        "wardens": lambda: sorted(one.pid for one in server.wardens()),
    }
    return {name: pids() for name, pids in kinds.items()}


async def one_attack(server: Server, name: str, rounds: int, seconds: float) -> Seen:
    seen, before, baseline = Seen(), lives(server), posture.take(server)
    with memory_watched(server, seen):
        for _ in range(rounds):
            honest = Honest(server.port)
            await honest.go_on(seconds / 2, seen.quiet, seen.wrong)
            with attacked(name, server.port, seen):
                await asyncio.sleep(BEGIN_S)
                await honest.go_on(seconds, seen.attacked, seen.wrong)
            await honest.close()
            await rest(server)
    seen.died = [kind for kind, pids in lives(server).items() if pids != before[kind]]
    try:
        posture.demand(server, baseline)
    except AssertionError as error:
        seen.left = str(error)
    return seen


async def rest(server: Server) -> None:
    """Until nothing of an attack runs any more, or REST_S: what is left then, `posture.demand` tells."""
    with contextlib.suppress(AssertionError):
        await asyncio.to_thread(until, lambda: posture.is_at_rest(server), REST_S)


HEAD = (
    f"{'attack':24} {'quiet p50':>9} {'p95':>7} {'max':>7} {'under p50':>9} {'p95':>7} {'max':>7} {'x':>6}"
    f" {'python x':>8} {'ts x':>6} {'rust x':>6} {'attempts':>8} {'http MB':>7} {'answers':>7} {'wrong':>5}  died, left"
)


def line(name: str, seen: Seen) -> str:
    figures = "".join(
        f" {p_ms(took, 0.5):9.1f} {p_ms(took, 0.95):7.1f} {p_ms(took, 1.0):7.1f}"
        for took in (seen.quiet, seen.attacked)
    )
    count = sum(map(len, seen.attacked.values()))
    return (
        f"{name:24}{figures} {seen.times():6.2f} {seen.times('python'):8.2f} {seen.times('typescript'):6.2f}"
        f" {seen.times('rust'):6.2f} {seen.attempts:8} {seen.http_mb:7.0f} {count:7} {len(seen.wrong):5}"
        f"  {', '.join(seen.died) or '-'}, {seen.left[:60] or '-'}"
    )


def judge(found: dict[str, Seen]) -> bool:
    """Whether all holds that must."""
    verdicts = Verdicts()
    for name, seen in found.items():
        verdicts.say(
            seen.times() <= SLOWER_MAX, f"{name}: p95 is {seen.times():.2f} x quiet (at most {SLOWER_MAX:g} x)"
        )
        for language in PROGRAMS:
            times = p_ms(seen.attacked, 0.5, language) / p_ms(seen.quiet, 0.5, language)
            if not times <= SLOWER_MAX:
                verdicts.say(False, f"{name}: half of {language} took {times:.2f} x quiet (at most {SLOWER_MAX:g} x)")
        if seen.wrong:
            verdicts.say(False, f"{name}: not answered rightly: {dict(collections.Counter(seen.wrong))}")
        if seen.http_mb > HTTP_MB_MAX:
            verdicts.say(False, f"{name}: the HTTP process had {seen.http_mb:.0f} MB (at most {HTTP_MB_MAX:.0f})")
        if seen.died or seen.left:
            verdicts.say(False, f"{name}: died: {seen.died}; left: {seen.left}")
    return verdicts.all_met


async def measure(server: Server, names: list[str], rounds: int, seconds: float) -> bool:
    posture.warm_up(server)
    honest = Honest(server.port)
    await honest.go_on(seconds, collections.defaultdict(list), [])
    await honest.close()
    found = {}
    print(f"milliseconds; {os.cpu_count()} cores\n{HEAD}", flush=True)
    for name in names:
        found[name] = await one_attack(server, name, rounds, seconds)
        print(line(name, found[name]), flush=True)
    return judge(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0, help="of an attacked period; a quiet one has half of it")
    parser.add_argument("--only", nargs="+", choices=attacks(), metavar="NAME", help="of the attacks; all when absent")
    options = parser.parse_args()
    with Server() as server:
        names = options.only or list(attacks())
        return 0 if asyncio.run(measure(server, names, options.rounds, options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
