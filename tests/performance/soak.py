"""A soak: a server of our own under mixed load for hours or days, which must lose nothing and grow by nothing.

    sudo ./bootstrap soak [--hours 168]

It goes in rounds of an hour, or a quarter of the time where that is less. Each measures the capacity anew, offers SHARE of
it, then TIMES as much as it for a tenth of the round, and prints a line: what came back right and how late, who was
refused, what was lost, and what every part holds when it is at rest again. At the end, or after Ctrl-C, it prints what
must hold of all rounds but the first, which fills the caches; the exit status is 0 where all of it does.
"""

import argparse
import asyncio
import dataclasses
import os
import signal
import sys
import time
from typing import Any

import uvloop

from daemon.bench import observe
from daemon.bench.observe import Held, Served
from tests.performance.steady_load import Load, Program, Verdicts, hello
from tests.server import Server

ROUND_S, CAPACITY_S, WARM_S, REST_S = 3600.0, 5.0, 5.0, 4.0
AT_ONCE, SHARE, TIMES, OVERLOAD_PART = 8, 0.6, 2.0, 0.1
MB = 1 << 20
GROWTH_MAX, GROWTH_MB_MAX, DESCRIPTORS_MORE_MAX = 0.1, 8.0, 64  # as many as the cache in memory has


def mixed(number: int) -> Program:
    """Mostly Python, also what fails, TypeScript, Rust (of 50 programs, so that most were compiled before) and a grading."""
    nonce = f"{number}-{os.getpid()}"
    match number % 10:
        case 3:
            code = f"import sys\nprint('{nonce}')\nsys.exit(5)"
            return "/execute", {"language": "python", "code": code}, lambda answer: answer["exit_code"] == 5
        case 5:
            code = f"const text: string = '{nonce}';\nconsole.log(text);"
            return "/execute", _of("typescript", code), lambda answer: answer["output"] == f"{nonce}\n"
        case 7:
            code = f'fn main() {{ println!("{number % 50}"); }}'
            return "/execute", _of("rust", code), lambda answer: answer["output"] == f"{number % 50}\n"
        case 9:
            tests = [{"input": f"{left} 1", "expected": str(left + 1)} for left in range(3)]
            code = f"print(sum(map(int, input().split())))  # {nonce}"
            return "/grade", {**_of("python", code), "tests": tests}, lambda answer: answer["verdict"] == "AC"
        case _:
            return hello(number)


def _of(language: str, code: str) -> dict[str, Any]:
    return {"language": language, "code": code}


@dataclasses.dataclass(frozen=True, slots=True)
class Round:
    """What one round showed. `held` is at rest, after it."""

    per_s: float
    right: int
    p50_ms: float
    p99_ms: float
    refused: int
    lost: int
    held: Held


async def one_round(load: Load, served: Served, seconds: float) -> Round:
    per_s = await load.as_many_as_possible(AT_ONCE, CAPACITY_S)
    lost = load.lost
    await load.offer(SHARE * per_s, (1 - OVERLOAD_PART) * seconds)
    right, p50_ms, p99_ms = len(load.took_ms[200]), load.p_ms(200, 0.5), load.p_ms(200, 0.99)
    refused, lost = len(load.took_ms[429]) + len(load.took_ms[503]), lost + load.lost
    await load.offer(TIMES * per_s, OVERLOAD_PART * seconds)
    right += len(load.took_ms[200])
    refused += len(load.took_ms[429]) + len(load.took_ms[503])
    load.close()
    await asyncio.sleep(REST_S)  # pools fill, groups of the last runs go
    for why in load.lost_as:
        print(f"  lost: {why}")
    return Round(per_s, right, p50_ms, p99_ms, refused, lost + load.lost, observe.held(served))


async def soak(server: Server, seconds: float) -> bool:
    """Whether all holds. Ends early at SIGINT, with the rounds that were done."""
    load, rounds = Load(server.port, mixed), list[Round]()
    served = Served(f"http://127.0.0.1:{server.port}", server.process.pid, server.instance)
    length_s, end_s = min(ROUND_S, seconds / 4), time.monotonic() + seconds
    await load.as_many_as_possible(AT_ONCE, WARM_S)
    going = asyncio.current_task()
    assert going is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, going.cancel)
    print(f"{len(os.sched_getaffinity(0))} cores; rounds of {length_s:.0f} s", flush=True)
    print(" round  per s    right   p50 ms   p99 ms  refused  lost  http MB  keeper MB  descriptors  processes  groups")
    try:
        while time.monotonic() + length_s / 2 < end_s:
            rounds.append(await one_round(load, served, length_s))
            print(_line(len(rounds), rounds[-1]), flush=True)
    except asyncio.CancelledError:
        print(f"stopped after {len(rounds)} rounds")
    return judge(rounds)


def _line(number: int, seen: Round) -> str:
    held = seen.held
    return (
        f"{number:6} {seen.per_s:6.0f} {seen.right:8} {seen.p50_ms:8.1f} {seen.p99_ms:8.1f} {seen.refused:8} {seen.lost:5}"
        f" {held.http_bytes / MB:8.1f} {held.keeper_bytes / MB:10.1f} {held.descriptors:12} {held.processes:10} {held.groups:7}"
    )


def judge(rounds: list[Round]) -> bool:
    verdicts = Verdicts()
    if len(rounds) < 2:
        verdicts.say(False, "two rounds, at least, were done")
        return False
    first, last = rounds[0].held, rounds[-1].held
    lost = sum(seen.lost for seen in rounds)
    verdicts.say(lost == 0, f"lost are {lost} of {sum(seen.right + seen.refused for seen in rounds)}")
    for name in ("http_bytes", "keeper_bytes", "warden_bytes"):
        before, after = getattr(first, name) / MB, getattr(last, name) / MB
        is_flat = after - before <= max(GROWTH_MAX * before, GROWTH_MB_MAX)
        verdicts.say(
            is_flat, f"{name.removesuffix('_bytes')} holds {before:.1f} MB after the first round, {after:.1f} now"
        )
    for name, more in (
        ("descriptors", DESCRIPTORS_MORE_MAX),
        ("processes", 0),
        ("zombies", 0),
        ("groups", 0),
        ("mounts", 0),
    ):
        before, after = getattr(first, name), getattr(last, name)
        verdicts.say(after <= before + more, f"{name}: {before} after the first round, {after} now")
    return verdicts.all_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=168.0, help="a week when not given")
    options = parser.parse_args()
    # A small cache in memory, which is full soon: each artefact in it has a descriptor.
    settings = {"artifact_memory_mb": 4, "self_test_s": 30}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, Server(**settings) as server:
        return 0 if runner.run(soak(server, 3600 * options.hours)) else 1


if __name__ == "__main__":
    sys.exit(main())
