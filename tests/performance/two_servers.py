"""What a run costs in two installed versions, measured in turn: CPU of each part, and latency at the client.

    python -m tests.performance.two_servers old=/path/of/one/venv new=/path/of/another/venv [--language python] [--graded]
        [--new] [--code CODE]

Each version serves beside the other; the rounds alternate, so that both meet the same quarter of an hour. With `--graded` a
round is one POST /grade, a run is one of its tests, and latency is that of the whole request. CPU time is the
kernel's: /proc/PID/schedstat of HTTP process and keeper, cpuacct.usage (v1) or cpu.stat (v2) of all wardens and jails.
"""

import argparse
import http.client
import itertools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import psutil

GRADED = {
    "python": "print(int(input()) * 2)",
    "rust": "fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap();"
            ' println!("{}", s.trim().parse::<i32>().unwrap() * 2); }',
}  # fmt: skip
CODE = {
    "python": "print('hello')  # {}",
    "rust": 'fn main() { println!("hello"); }',
    "typescript": "console.log('hello');",
}
PARTS = ("http", "keeper", "wardens and jails")
FIRST_PORT = 18300
START_S, SETTLE_S = 60.0, 0.5
_nonces = itertools.count()


class Version:
    """One version's server, for one language."""

    def __init__(self, name: str, venv: pathlib.Path, port: int, language: str, code: str) -> None:
        self.name, self._port, self._language, self._code = name, port, language, code
        instance = f"two-{os.getpid()}-{name}"
        self._state = pathlib.Path(f"/tmp/cellblock-{instance}")
        settings = {
            "PREFIX": venv.parent, "INSTANCE": instance, "STATE": self._state, "SELF_TEST_S": 3600,
            "LANGUAGES": json.dumps([language]),
        }  # fmt: skip
        environment = {**os.environ, **{f"CELLBLOCK_{key}": str(value) for key, value in settings.items()}}
        command = [str(venv / "bin" / "cellblock"), "serve", "--port", str(port)]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self._wait_healthy()
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._keeper = next(child.pid for child in children if "daemon.keeper" in child.cmdline())
        self._http = next(child.pid for child in children if "http" in child.cmdline())
        groups = json.loads(pathlib.Path(f"/run/cellblock/{instance}/groups.json").read_text())
        self._groups = [pathlib.Path(group) for group in groups]
        self.cpu_ms: list[list[float]] = []
        self.latencies_ms: list[float] = []

    def _wait_healthy(self) -> None:
        end_s = time.monotonic() + START_S
        while True:
            try:
                connection = self._connected()
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > end_s:
                sys.exit(f"{self.name} is not healthy within {START_S:.0f} s")
            time.sleep(0.2)

    def cpu_ns(self) -> list[int]:
        """Of each of PARTS, so far."""
        processes = [
            int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in (self._http, self._keeper)
        ]
        for group in self._groups:
            if (group / "cpuacct.usage").exists():
                return [*processes, int((group / "cpuacct.usage").read_text())]
        statistics_of_v2 = (self._groups[0] / "cpu.stat").read_text().split()
        return [*processes, 1000 * int(statistics_of_v2[statistics_of_v2.index("usage_usec") + 1])]

    def run(self, count: int) -> list[float]:
        """Milliseconds of each, one after the other on one connection."""
        took_ms = []
        connection = self._connected()
        for _ in range(count):
            code = self._code.replace("{}", str(next(_nonces)))
            took, answer = _asked(connection, "/execute", {"language": self._language, "code": code})
            took_ms.append(took)
            if answer.get("output") != "hello\n":
                sys.exit(f"{self.name}: {answer}")
        return took_ms

    def grade(self, count: int) -> list[float]:
        """Milliseconds of one request with so many tests."""
        tests = [{"input": f"{number}\n", "expected": f"{2 * number}\n"} for number in range(count)]
        body = {"language": self._language, "code": GRADED[self._language], "tests": tests}
        took, answer = _asked(self._connected(), "/grade", body)
        if answer.get("verdict") != "AC":
            sys.exit(f"{self.name}: {json.dumps(answer)[:1000]}")
        return [took]

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=START_S)

    def measure(self, count: int, graded: bool) -> None:
        """One round."""
        time.sleep(SETTLE_S)
        before = self.cpu_ns()
        self.latencies_ms += self.grade(count) if graded else self.run(count)
        time.sleep(SETTLE_S)  # the jails that replace those that were used
        self.cpu_ms.append([(now - then) / count / 1e6 for now, then in zip(self.cpu_ns(), before, strict=True)])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._state, ignore_errors=True)


def _asked(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[float, dict[str, object]]:
    """Milliseconds, and the answer."""
    started_s = time.perf_counter()
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    return (time.perf_counter() - started_s) * 1e3, answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", metavar="NAME=VENV")
    parser.add_argument("--language", choices=CODE, default="python")
    parser.add_argument("--graded", action="store_true")
    parser.add_argument(
        "--new", action="store_true", help="compile each time: no two programs of Rust or TypeScript are alike"
    )
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="of the first; the others follow")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--runs", type=int, default=150, help="of each round")
    parser.add_argument("--code", help="prints hello; {} in it becomes a number that is new each time")
    options = parser.parse_args()
    code = (options.code or CODE[options.language]) + " // {}" * options.new
    versions = []
    try:
        for number, pair in enumerate(options.versions):
            name, _, venv = pair.partition("=")
            versions.append(Version(name, pathlib.Path(venv), options.port + number, options.language, code))
        for version in versions:
            version.measure(20, options.graded)  # warms up
            version.cpu_ms.clear()
            version.latencies_ms.clear()
        for number in range(options.rounds):
            for version in versions if number % 2 else versions[::-1]:
                version.measure(options.runs, options.graded)
        for version in versions:
            parts = [statistics.median(round_ms) for round_ms in zip(*version.cpu_ms, strict=True)]
            total, least = statistics.median(map(sum, version.cpu_ms)), min(map(sum, version.cpu_ms))
            words = ", ".join(f"{part} {value:.2f}" for part, value in zip(PARTS, parts, strict=True))
            latencies = statistics.quantiles(version.latencies_ms, n=100)
            print(
                f"{version.name}: CPU ms {words}, all {total:.2f}, at least {least:.2f}; "
                f"least {min(version.latencies_ms):.2f} p50 {latencies[49]:.2f} p99 {latencies[98]:.2f} ms"
            )
    finally:
        for version in versions:
            version.stop()


if __name__ == "__main__":
    main()
