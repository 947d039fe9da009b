"""What a dialect costs beside a plain run: latency in turn, and CPU time of the HTTP process for each run.

    python -m tests.performance.dialect_cost jobe sandboxfusion --runs 500

Each round asks every variant once for a new program, on one connection each, so that a noisy host is noisy for all. CPU
time of the HTTP process is read around each request (/proc/PID/schedstat of its threads), which nobody else asks meanwhile.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import statistics
import time

import psutil

from daemon.bench import servers
from daemon.bench.dialects import DIALECTS
from daemon.bench.measure import quantile
from daemon.toolchain import registry

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
WARM_UP = 20
BELOW = {"judge0": "/judge0"}  # where a dialect is not at the root
PLAIN = "cellblock"


def http_process(supervisor: int) -> int:
    """The pid of the one child that runs `http`."""
    (found,) = (child.pid for child in psutil.Process(supervisor).children(recursive=True) if "http" in child.cmdline())
    return found


def cpu_ns(pid: int) -> int:
    """Of all threads that live (proc_pid_schedstat(5): the first number is time on a processor)."""
    threads = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


def measure(names: list[str], runs: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of latency and of CPU time of each run, by variant."""
    toolchain = registry.read(SHIPPED / "python.toml")
    environment = {"CELLBLOCK_DIALECTS": json.dumps(names), "CELLBLOCK_LANGUAGES": '["python"]'}
    environment |= {"CELLBLOCK_ACCESS_LOG": "false", "CELLBLOCK_HTTP_PROCESSES": "1"}
    latency, cpu = collections.defaultdict(list), collections.defaultdict(list)
    with servers.served("dialects", **environment) as served, contextlib.ExitStack() as stack:
        pid = http_process(served.pid)
        opened = {
            name: stack.enter_context(contextlib.closing(DIALECTS[name](served.url + BELOW.get(name, ""))))
            for name in [PLAIN, *names]
        }
        for number in range(-WARM_UP, runs):
            for name, dialect in opened.items():
                before_ns, started_s = cpu_ns(pid), time.perf_counter()
                output = dialect.run(toolchain, f"print('{name} {number}')")
                taken_s = time.perf_counter() - started_s
                assert output == f"{name} {number}\n", output
                if number >= 0:
                    latency[name].append(taken_s * 1e3)
                    cpu[name].append((cpu_ns(pid) - before_ns) / 1e6)
    return latency, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dialects", nargs="+", choices=sorted(set(DIALECTS) - {PLAIN, "go-judge"}))
    parser.add_argument("--runs", type=int, default=500)
    given = parser.parse_args()
    latency, cpu = measure(given.dialects, given.runs)
    plain_ms, plain_cpu_ms = statistics.median(latency[PLAIN]), statistics.median(cpu[PLAIN])
    for name, samples in latency.items():
        p50, p99, used = statistics.median(samples), quantile(sorted(samples), 0.99), statistics.median(cpu[name])
        print(
            f"{name:14} p50 {p50:.2f} ms ({p50 / plain_ms:.2f} x)  p99 {p99:.2f} ms  "
            f"HTTP process {used:.3f} ms of CPU ({used / plain_cpu_ms:.2f} x)"
        )


if __name__ == "__main__":
    main()
