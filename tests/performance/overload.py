"""More requests than the server can answer, for minutes: what the accepted ones take, and how the rest is told.

    sudo /var/lib/cellblock/venv/bin/python -m tests.performance.overload [--seconds 300] [--times 2]

First it measures one request after the other (idle), then as many a second as come back right at AT_ONCE at once, then
it offers so many times that. Each program is a new one. BEGIN_S, in which a burst still waits in all places, are told
apart. Memory is the most that the HTTP process and the keeper held in the first and in the second half. It ends with
each target and whether it was met; the exit status is 0 where all were.
"""

import argparse
import asyncio
import collections
import sys
from typing import Any

import psutil
import uvloop

from tests.performance.steady_load import Load, Verdicts, hello
from tests.server import Server

AT_ONCE, CAPACITY_S, IDLE_RUNS, WARM_RUNS = 8, 10.0, 1000, 100
REST_S, BEGIN_S, SAMPLE_S = 2.0, 5.0, 0.5
MB = 1 << 20
SLOWER_MAX, REFUSED_MS_MAX = 3.0, 20.0  # the targets
GROWTH_MAX, GROWTH_MB_MAX = 0.02, 2.0  # of memory that is called flat: whichever is more
Memory = dict[str, list[float]]


async def sampled(processes: dict[str, psutil.Process], into: Memory) -> None:
    """MB of each, again and again until cancelled."""
    while True:
        for name, process in processes.items():
            into[name].append(process.memory_info().rss / MB)
        await asyncio.sleep(SAMPLE_S)


async def measure(server: Server, seconds: float, times: float) -> bool:
    """Whether all targets are met."""
    load = Load(server.port, hello)
    await load.one_by_one(WARM_RUNS)
    load.forget()
    await load.one_by_one(IDLE_RUNS)
    idle_ms = load.p_ms(200, 0.99)
    print("idle      ", load.told(200), flush=True)
    most_per_s = await load.as_many_as_possible(AT_ONCE, CAPACITY_S)
    print(f"capacity   {most_per_s:.0f} right answers a second at {AT_ONCE} at once", flush=True)
    await asyncio.sleep(REST_S)
    memory: Memory = collections.defaultdict(list)
    sampling = asyncio.create_task(sampled({"http": server.http, "keeper": server.keeper}, memory))
    late = await load.offer(times * most_per_s, seconds, BEGIN_S)
    sampling.cancel()
    print(f"overload   {times:g} x capacity for {BEGIN_S:g} + {seconds:g} s; {late:.1%} sent late by the generator")
    for status in (200, 429, 503):
        print("          ", load.told(status))
    print(f"           {len(load.took_ms[200]) / seconds:.0f} right a second")
    return judge(load, idle_ms, memory)


def judge(load: Load, idle_ms: float, memory: Memory) -> bool:
    verdicts = Verdicts()
    slower = load.p_ms(200, 0.99) / idle_ms
    verdicts.say(slower <= SLOWER_MAX, f"accepted p99 is {slower:.2f} x idle p99 (at most {SLOWER_MAX:g} x)")
    refused = sorted(load.took_ms[429] + load.took_ms[503])
    p99_ms = refused[int(0.99 * len(refused))] if refused else 0.0
    verdicts.say(p99_ms < REFUSED_MS_MAX, f"refused p99 is {p99_ms:.1f} ms (below {REFUSED_MS_MAX:g} ms)")
    verdicts.say(load.lost == 0, f"lost are {load.lost} {load.lost_as}")
    for name, found in memory.items():
        half = len(found) // 2
        before, after = max(found[:half]), max(found[half:])
        is_flat = after - before <= max(GROWTH_MAX * before, GROWTH_MB_MAX)
        verdicts.say(is_flat, f"{name} held at most {before:.1f} MB in the first half, {after:.1f} MB in the second")
    return verdicts.all_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--times", type=float, default=2.0, help="the capacity, so many times")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    options = parser.parse_args()
    settings: dict[str, Any] = dict(text.split("=", 1) for text in options.set)
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        Server(languages=["python"], **settings) as server,
    ):
        return 0 if runner.run(measure(server, options.seconds, options.times)) else 1


if __name__ == "__main__":
    sys.exit(main())
