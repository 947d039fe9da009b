"""A thousand gradings, four at once: no mix-up, no failure of ours, and nothing grows.

    sudo ./bootstrap test-slow -s

Each has a number of its own, which its program adds to what it reads, so that the answer to one is wrong for another;
each ends in one of six ways, some are events, some have a checker or an interactor of their own, and some hang up.
"""

import concurrent.futures
import http.client
import json
import random
import threading
from typing import Any

import psutil
import pytest

from tests import posture
from tests.server import Server, until

GRADINGS, CLIENTS, WARM_UP = 1000, 4, 60
TESTS = 6
GROWS_BYTES_MAX = 24 << 20  # of each process, by allocators' fragments
SEED = 20261127

PROGRAMS = {
    "AC": "print(int(input()) + {number})",
    "WA": "n = int(input())\nprint(n + {number} + (n == 3))",
    "RE": "n = int(input())\nassert n != 3\nprint(n + {number})",
    "TLE": "n = int(input())\nwhile n == 3: pass\nprint(n + {number})",
    "MLE": "n = int(input())\nif n == 3: kept = [bytearray(1 << 20) for _ in range(1000)]\nprint(n + {number})",
    "OLE": "n = int(input())\nwhile n == 3: print('x' * 1000)\nprint(n + {number})",
}
RUST = (
    "fn main() {{ let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); "
    'println!("{{}}", s.trim().parse::<u64>().unwrap() + {number}); }}'
)
CHECKER = "import sys\nexpected = int(open(sys.argv[2]).read())\nsys.exit(42 if int(input()) == expected else 43)"


class Grading:
    """One of them: what is asked, and what must come."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.number = number
        self.verdict = chance.choice(["AC", "AC", *PROGRAMS])
        self.is_stream, self.hangs_up = chance.random() < 0.3, chance.random() < 0.1
        is_rust = self.verdict == "AC" and chance.random() < 0.2
        self.body: dict[str, Any] = {
            "code": (RUST if is_rust else PROGRAMS[self.verdict]).format(number=number),
            "language": "rust" if is_rust else "python",
            "tests": [
                {"id": f"{number}-{n}", "input": f"{n}\n", "expected": f"{n + number}\n"} for n in range(1, TESTS + 1)
            ],
            "limits": {"cpu_time": 0.3, "wall_time": 10, "memory_mb": 64, "output_kb": 64},
            "stop_on_failure": chance.random() < 0.5,
        }
        if chance.random() < 0.2:
            self.body["checker"] = {"kind": "custom", "language": "python", "code": CHECKER}

    def run(self, server: Server) -> str | None:
        """What is wrong with the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        accept = "text/event-stream" if self.is_stream else "application/json"
        connection.request(
            "POST", "/grade", json.dumps(self.body), {"Content-Type": "application/json", "Accept": accept}
        )
        if self.hangs_up:
            connection.close()
            return None
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        if self.is_stream:
            text = text.split("event: result\r\ndata: ")[-1].strip()
        answer = json.loads(text)
        if response.status != 200:
            return f"status {response.status}: {text[:500]}"
        return self._wrong(answer)

    def _wrong(self, answer: dict[str, Any]) -> str | None:
        if answer["verdict"] != self.verdict:
            return f"{answer['verdict']} in place of {self.verdict}: {json.dumps(answer)[:1500]}"
        for n, test in enumerate(answer["tests"], 1):
            skipped = self.body["stop_on_failure"] and self.verdict != "AC" and n > 3
            expected = "SK" if skipped else self.verdict if n == 3 else "AC"
            if (test["id"], test["verdict"]) != (f"{self.number}-{n}", expected):
                return f"{test} in place of {expected} of test {n}"
        return None


@pytest.mark.slow
def test_a_thousand_gradings_leave_nothing_and_mix_nothing_up() -> None:
    chance = random.Random(SEED)
    gradings = [Grading(number, chance) for number in range(1000, 1000 + WARM_UP + GRADINGS)]
    with Server() as server, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        wrong = [text for text in pool.map(lambda one: one.run(server), gradings[:WARM_UP]) if text]
        until(lambda: posture.is_at_rest(server), 10, "only parked jails are alive")
        before, held = posture.take(server), resident(server)
        done, lock = 0, threading.Lock()

        def run(one: Grading) -> str | None:
            nonlocal done
            found = one.run(server)
            with lock:
                done += 1
                if done % 100 == 0:
                    print(f"{done} gradings, {sum(resident(server).values()) >> 20} MB", flush=True)
            return found

        wrong += [text for text in pool.map(run, gradings[WARM_UP:]) if text]
        until(lambda: posture.is_at_rest(server), 10, "only parked jails are alive")
        posture.demand(server, before)
        grown = {name: after - held[name] for name, after in resident(server).items()}
        log = server.error_text()
    print({name: f"{size / (1 << 20):+.1f} MB" for name, size in grown.items()})
    assert not wrong, wrong[:5]
    assert all(size < GROWS_BYTES_MAX for size in grown.values()), grown
    assert "reason of ours" not in log, log[-2000:]


def resident(server: Server) -> dict[str, int]:
    """Bytes of each of our processes."""
    found: dict[str, psutil.Process] = {"http": server.http, "keeper": server.keeper, "warden": server.warden("python")}
    return {name: process.memory_info().rss for name, process in found.items()}
