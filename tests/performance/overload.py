"""More requests than the server can answer, for minutes: what the accepted ones take, and how the rest is told.

    sudo /var/lib/cellblock/venv/bin/python -m tests.performance.overload [--seconds 300] [--times 2] [--queue 4]

Requests are due at a steady rate and are sent then, whether or not earlier ones were answered; latencies are from that
moment. First it measures one request after the other (idle), then as many a second as come back right at AT_ONCE at once.
Each program is a new one. Lost is what got no answer, or a wrong one. Memory is the most that the HTTP process and the
keeper held in the first and in the second half.
"""

import argparse
import asyncio
import collections
import itertools
import json
import os
import time

import aiohttp
import psutil

from daemon.bench.measure import quantile
from tests.server import Server

AT_ONCE, CAPACITY_S, IDLE_RUNS = 8, 10.0, 300
REST_S, SAMPLE_S = 2.0, 0.5
LATE_S = 0.05  # of the load generator itself
MB = 1 << 20
_numbers = itertools.count()


class Load:
    """Milliseconds of answers by their status, counted only where a 200 is right."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.took_ms: dict[int, list[float]] = collections.defaultdict(list)
        self.lost: list[str] = []

    async def one(self, due_s: float) -> None:
        """A program that nobody has run before."""
        number = next(_numbers)
        body = {"language": "python", "code": f"print({number})  # {os.getpid()}"}
        try:
            async with self._session.post(f"{self._url}/execute", json=body) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            self.lost.append(repr(error))
            return
        if response.status == 200 and answer["output"] != f"{number}\n":
            self.lost.append(str(answer))
        elif response.status not in (200, 429, 503) or (
            response.status != 200 and "Retry-After" not in response.headers
        ):
            self.lost.append(f"{response.status}: {answer}")
        else:
            self.took_ms[response.status].append((time.perf_counter() - due_s) * 1e3)

    def told(self, status: int) -> str:
        found = sorted(self.took_ms[status])
        if not found:
            return f"{status}: none"
        parts = ", ".join(f"p{part * 100:g} {quantile(found, part):.1f}" for part in (0.5, 0.95, 0.99, 1.0))
        return f"{status}: {len(found)} answers, {parts} ms"


async def idle(load: Load) -> float:
    """p99 in ms of one request after the other."""
    for _ in range(IDLE_RUNS):
        await load.one(time.perf_counter())
    return quantile(sorted(load.took_ms[200]), 0.99)


async def capacity(load: Load) -> float:
    """Right answers a second."""
    end_s = time.perf_counter() + CAPACITY_S

    async def go_on() -> None:
        while (now_s := time.perf_counter()) < end_s:
            await load.one(now_s)

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
    return len(load.took_ms[200]) / CAPACITY_S


async def offer(load: Load, per_s: float, seconds: float) -> float:
    """Returns the share of requests that were sent late, by the generator's own fault."""
    began_s, late, sent = time.perf_counter(), 0, set[asyncio.Task[None]]()
    for number in range(int(per_s * seconds)):
        due_s = began_s + number / per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        late += time.perf_counter() > due_s + LATE_S
        task = asyncio.create_task(load.one(due_s))
        sent.add(task)
        task.add_done_callback(sent.discard)
    await asyncio.gather(*sent)
    return late / max(1, int(per_s * seconds))


async def sampled(processes: dict[str, psutil.Process], into: dict[str, list[float]]) -> None:
    """MB of each, again and again until cancelled."""
    while True:
        for name, process in processes.items():
            into[name].append(process.memory_info().rss / MB)
        await asyncio.sleep(SAMPLE_S)


async def measure(server: Server, seconds: float, times: float) -> None:
    url = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        idle_ms = await idle(alone := Load(url, session))
        print("idle      ", alone.told(200), flush=True)
        most_per_s = await capacity(Load(url, session))
        print(f"capacity   {most_per_s:.0f} right answers a second at {AT_ONCE} at once", flush=True)
        await asyncio.sleep(REST_S)
        load, memory = Load(url, session), collections.defaultdict[str, list[float]](list)
        sampling = asyncio.create_task(sampled({"http": server.http, "keeper": server.keeper}, memory))
        late = await offer(load, times * most_per_s, seconds)
        sampling.cancel()
        print(f"overload   {times:g} x capacity for {seconds:g} s; {late:.1%} sent late by the generator")
        for status in (200, 429, 503):
            print("          ", load.told(status))
        accepted = quantile(sorted(load.took_ms[200]), 0.99)
        print(
            f"           accepted p99 {accepted / idle_ms:.1f} x idle p99; {len(load.took_ms[200]) / seconds:.0f} right a second"
        )
        print(f"           lost: {len(load.lost)} {load.lost[:3]}")
        for name, found in memory.items():
            half = len(found) // 2
            print(
                f"           {name}: at most {max(found[:half]):.0f} MB in the first half, {max(found[half:]):.0f} MB in the second"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--times", type=float, default=2.0, help="the capacity, so many times")
    parser.add_argument("--queue", type=int, default=64, help="the setting queue")
    options = parser.parse_args()
    with Server(languages=["python"], queue=options.queue, self_test_s=3600) as server:
        asyncio.run(measure(server, options.seconds, options.times))


if __name__ == "__main__":
    main()
