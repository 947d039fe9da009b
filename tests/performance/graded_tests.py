"""Tests a second of one request to POST /grade, beside what people use else: go-judge, and bare `xargs -P`.

    python -m tests.performance.graded_tests [--go-judge PATH] [--language cpp] [--rounds 7] [--tests 100]

Each round measures all in turn, so that all meet the same minute; the figures are medians over the rounds. go-judge
(https://github.com/criyle/go-judge) runs the same compiled program, which it keeps as a cached file, for four clients at
once; its answers are checked as ours are. `xargs` runs a Python hello with as many processes as there are cores.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from daemon.bench.bare import environment
from daemon.bench.servers import served

PROGRAMS = {
    "cpp": "#include <cstdio>\nint main() { int n; std::scanf(\"%d\", &n); std::printf(\"%d\\n\", n * 2); }\n",
    "c": "#include <stdio.h>\nint main(void) { int n; scanf(\"%d\", &n); printf(\"%d\\n\", n * 2); }\n",
    "rust": "fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap();"
            ' println!("{}", s.trim().parse::<i32>().unwrap() * 2); }\n',
}  # fmt: skip
BARE = {"cpp": ["g++", "-O2", "-x", "c++"], "c": ["gcc", "-O2", "-x", "c"], "rust": ["rustc", "-O"]}
PYTHON = "print(int(input()) * 2)\n"
GO_JUDGE_CLIENTS = 4
START_S = 20.0


class Ours:
    """POST /grade."""

    def __init__(self, url: str, language: str, code: str, tests: int) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
        entries = [{"input": f"{number}\n", "expected": f"{2 * number}\n"} for number in range(tests)]
        self._body = json.dumps({"code": code, "language": language, "tests": entries})

    def __call__(self) -> None:
        self._connection.request("POST", "/grade", self._body, {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())
        if answer.get("verdict") != "AC":
            sys.exit(f"cellblock: {json.dumps(answer)[:1000]}")


class GoJudge:
    """POST /run, with a program that it keeps."""

    def __init__(self, port: int, program: pathlib.Path, tests: int) -> None:
        self._port, self._tests, self._local = port, tests, threading.local()
        self._file = self._upload(program)
        self._clients = concurrent.futures.ThreadPoolExecutor(GO_JUDGE_CLIENTS)

    def __call__(self) -> None:
        for _ in self._clients.map(self._run, range(self._tests)):
            pass

    def _run(self, number: int) -> None:
        command = {
            "args": ["main"], "env": ["PATH=/usr/bin:/bin"], "cpuLimit": 10**9, "clockLimit": 3 * 10**9, "procLimit": 16,
            "memoryLimit": 256 << 20, "copyIn": {"main": {"fileId": self._file}},
            "files": [{"content": f"{number}\n"}, {"name": "stdout", "max": 1 << 20}, {"name": "stderr", "max": 1 << 20}],
        }  # fmt: skip
        (answer,) = json.loads(self._request("/run", json.dumps({"cmd": [command]}).encode(), "application/json"))
        if answer["status"] != "Accepted" or answer["files"]["stdout"] != f"{2 * number}\n":
            sys.exit(f"go-judge: {answer}")

    def _upload(self, program: pathlib.Path) -> str:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="main"\r\n\r\n'
        body = head + program.read_bytes() + b"\r\n--b--\r\n"
        return str(json.loads(self._request("/file", body, "multipart/form-data; boundary=b")))

    def _request(self, path: str, body: bytes, kind: str) -> bytes:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        self._local.connection.request("POST", path, body, {"Content-Type": kind})
        return bytes(self._local.connection.getresponse().read())


@contextlib.contextmanager
def go_judge(binary: str, port: int) -> Iterator[int]:
    """A go-judge that lives as long as the body."""
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "-http-addr", f"127.0.0.1:{port}", "-silent", "-dir", folder, "-parallelism", "4"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            end_s = time.monotonic() + START_S
            while time.monotonic() < end_s:
                with contextlib.suppress(OSError):
                    http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                    break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait()


def bare_python(folder: pathlib.Path, tests: int) -> Callable[[], None]:
    """`xargs -P CORES` of a bare interpreter."""
    (folder / "main.py").write_text(PYTHON)
    line = f"seq {tests} | xargs -P{os.cpu_count()} -I@ sh -c 'echo @ | /usr/bin/python3 main.py' > out"

    def run() -> None:
        subprocess.run(["sh", "-c", line], cwd=folder, env=environment(), check=True)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--go-judge", metavar="PATH", help="its executable")
    parser.add_argument("--language", choices=PROGRAMS, default="rust")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tests", type=int, default=100)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        language, code = asked.language, PROGRAMS[asked.language]
        server = stack.enter_context(served("graded"))
        runs: dict[str, Callable[[], None]] = {
            f"cellblock, {language}": Ours(server.url, language, code, asked.tests),
            "cellblock, python": Ours(server.url, "python", PYTHON, asked.tests),
            "xargs, python": bare_python(folder, asked.tests),
        }
        if asked.go_judge:
            (folder / "source").write_text(code)
            subprocess.run([*BARE[language], "-o", "main", "source"], cwd=folder, check=True)
            port = stack.enter_context(go_judge(asked.go_judge, 18390))
            runs[f"go-judge, {language}"] = GoJudge(port, folder / "main", asked.tests)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(asked.rounds + 1):
            for name, run in runs.items():
                started_s = time.perf_counter()
                run()
                if number:  # the first warms up
                    rates[name].append(asked.tests / (time.perf_counter() - started_s))
    for name, found in rates.items():
        low, high = min(found), max(found)
        print(f"{name:20} {statistics.median(found):7.0f} tests/s  ({low:.0f} to {high:.0f}, {len(found)} rounds)")


if __name__ == "__main__":
    main()
