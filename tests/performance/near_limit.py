"""How often does a program that needs nearly all of its CPU limit get TLE, idle and on a busy machine?

    sudo /var/lib/cellblock/venv/bin/python -m tests.performance.near_limit [--runs 200]

The limit is what the program takes idle (the median) divided by each of SHARES. It is graded alone; beside neighbours that
are graded and executed on the same server; and beside processes outside of cellblock, OUTSIDE on each core. A run is wrong
when it gets TLE though it would be right alone.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from daemon.bench import fairness
from tests.performance import contest_programs as programs
from tests.performance.contest_hour import Judge, quantile
from tests.server import Server

SHARES = (0.8, 0.95)
OUTSIDE = 2
CALIBRATION = 20
SPIN = "while True: pass"
PARTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def inside(url: str) -> contextlib.AbstractContextManager[None]:
    """Neighbours on the same server: graded ones leave one core, executed ones are on every core."""
    graded = {"language": "python", "code": SPIN, "tests": [{}], "limits": {"cpu_time": 0.3, "memory_mb": 64}}
    executed = {"language": "python", "code": SPIN, "timeout": 1}
    return fairness.beside(
        url,
        [
            lambda connection: connection.request("POST", "/grade", graded),
            lambda connection: connection.request("POST", "/execute", executed),
        ],
    )


@contextlib.contextmanager
def outside(_: str) -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(OUTSIDE * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


@contextlib.contextmanager
def idle(_: str) -> Iterator[None]:
    yield


def fields(name: str, limit_s: float) -> dict[str, object]:
    language = programs.LANGUAGES[name]
    test = programs.tests(language, is_heavy=True)[-1]
    limits = {"cpu_time": limit_s, "wall_time": 60.0, "memory_mb": 256}
    return {"language": name, "code": programs.code(language, "AC"), "tests": [test], "limits": limits}


def measure(judge: Judge, name: str, limit_s: float, runs: int) -> tuple[list[float], list[float], int]:
    """CPU and wall seconds of each run, and how many got TLE."""
    cpu_s, wall_s, late = [], [], 0
    for _ in range(runs):
        (test,) = judge.ask("/grade", fields(name, limit_s))["tests"]
        cpu_s.append(test["cpu_time"])
        wall_s.append(test["wall_time"])
        late += test["verdict"] == "TLE"
        assert test["verdict"] in ("AC", "TLE"), test
    return cpu_s, wall_s, late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--languages", nargs="+", default=["rust", "python"])
    options = parser.parse_args()
    wrong = 0
    with Server() as server:
        url = f"http://127.0.0.1:{server.port}"
        judge = Judge(url)
        for name in options.languages:
            base_s = statistics.median(measure(judge, name, 20.0, CALIBRATION)[0])
            for condition in (idle, inside, outside):
                for share in SHARES:
                    with condition(url):
                        cpu_s, wall_s, late = measure(judge, name, base_s / share, options.runs)
                    wrong += late
                    words = ", ".join(f"{part} {quantile(cpu_s, at) / base_s:.3f}" for part, at in PARTS.items())
                    print(
                        f"{name} needs {share:.0%} of {base_s / share * 1e3:.0f} ms, {condition.__name__:7}: {late} of "
                        f"{options.runs} TLE; CPU / idle median: {words}; wall p50 {quantile(wall_s, 0.5) * 1e3:.0f} ms",
                        flush=True,
                    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
