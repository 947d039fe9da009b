"""Attacks of one client on another, as harmful as one client can make them: tests/performance/attacks.py measures them.

    python -m tests.performance.attackers NAME PORT     (goes on until it is killed)

A client elsewhere would use none of this machine's processors, so this process goes behind all others (NICE), and it
sends at most PER_S requests a second, which an address on loopback is not bound to (`requests_per_minute_of_address`).
For each that was answered, or refused, or given up, it writes a byte: whoever measures knows that there was an attack.
"""

import contextlib
import dataclasses
import functools
import http.client
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.performance import attack_programs as programs
from tests.small_packages import zip_bytes

ADDRESS = "127.0.0.3"
NICE = 10  # an eighth of what another process gets; with 19, beside other work, it would attack nobody
PER_S = 100.0
ANSWER_S = 120.0
MB = 1 << 20
HEAD = "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_numbers = itertools.count()


class Attacker:
    """One thread's connections to the server at `port`. All of its methods raise OSError and HTTPException."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._held: list[socket.socket] = []

    def opened(self, data: bytes = b"") -> socket.socket:
        """A connection that has sent `data`, and whose kernel takes almost nothing of an answer."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(ANSWER_S)
        made.bind((ADDRESS, 0))
        made.connect(("127.0.0.1", self._port))
        made.sendall(data)
        return made

    def hold(self, data: bytes, most: int) -> None:
        """Keep such a connection, and `most` of them: the oldest is closed for one more."""
        self._held.append(self.opened(data))
        if len(self._held) > most:
            self._held.pop(0).close()

    def send(self, path: str, body: bytes, method: str = "POST", kind: str = "application/json") -> None:
        """A request whose whole answer is read."""
        made = http.client.HTTPConnection("127.0.0.1", self._port, ANSWER_S, source_address=(ADDRESS, 0))
        with contextlib.closing(made):
            made.request(method, path, body, {"Content-Type": kind})
            made.getresponse().read()

    def run(self, language: str, code: str, **fields: Any) -> None:
        """A program that nobody has run before."""
        self.send("/execute", json.dumps(fields_of(language, code, **fields)).encode())


def fields_of(language: str, code: str, **fields: Any) -> dict[str, Any]:
    mark = "#" if language == "python" else "//"
    return {"language": language, "code": f"{code}\n{mark} {next(_numbers)} {os.getpid()}", **fields}


def request(fields: dict[str, Any], head: str = "") -> bytes:
    """All of a request's bytes."""
    body = json.dumps(fields).encode()
    return f"{HEAD}{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclasses.dataclass(frozen=True, slots=True)
class Attack:
    """What `once` does is done again and again by `at_once` threads."""

    at_once: int
    once: Callable[[Attacker], None]
    is_paced: bool = True


def _runs(language: str, code: str, **fields: Any) -> Callable[[Attacker], None]:
    return lambda attacker: attacker.run(language, code, **fields)


def _body(made: Callable[[], bytes]) -> Callable[[Attacker], None]:
    made = functools.cache(made)  # none is made for an attack that does not send it
    return lambda attacker: attacker.send("/execute", made())


def _wall_limit(attacker: Attacker) -> None:
    """Ends between 3 ms before its wall limit and 1 ms after it."""
    ends_s = 0.047 + 0.004 * (next(_numbers) % 40) / 40
    attacker.run("python", programs.BUSY.format(ends_s), timeout=0.05)


def _unread(attacker: Attacker) -> None:
    """The answer to a megabyte of NUL is 13 MB."""
    attacker.hold(request(fields_of("python", "import os\nos.write(1, bytes(1 << 20))", binary=True)), 60)


def _unread_events(attacker: Attacker) -> None:
    fields = fields_of("python", "import os\nos.write(1, bytes(1 << 20))")
    attacker.hold(request(fields, "Accept: text/event-stream\r\n"), 60)


def _small_events(attacker: Attacker) -> None:
    """Nobody could read them as fast as they come."""
    attacker.hold(request(fields_of("rust", programs.SMALL_WRITES), "Accept: text/event-stream\r\n"), 4)


def _hung_up(attacker: Attacker) -> None:
    with attacker.opened(request(fields_of("typescript", programs.SLOW_TYPES))):
        time.sleep(2.1)  # the checker's deadline is 2 s


def _log_flood(attacker: Attacker) -> None:
    with attacker.opened(b"POST / HTTP/1.1\n" + b"A" * 8000) as one:
        one.recv(100)


def _connects(attacker: Attacker) -> None:
    attacker.opened().close()


def _pipelines(attacker: Attacker) -> None:
    """Requests that are sent ahead of answers that nobody reads."""
    with attacker.opened(request(fields_of("python", "import time\ntime.sleep(5)"))) as one:
        one.settimeout(5)
        with contextlib.suppress(TimeoutError):
            while True:
                one.sendall(b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)


def _upload(attacker: Attacker) -> None:
    """Eight megabytes that are no package."""
    attacker.send(f"/problems/attack{next(_numbers) % 8}", b"PK\x03\x04" + bytes(8 * MB), "PUT", "application/zip")


def _problem(attacker: Attacker) -> None:
    attacker.send(f"/problems/attack{next(_numbers) % 8}", zip_bytes(programs.SLOW_PACKAGE), "PUT", "application/zip")


def _grading(code: str, tests: int, **limits: Any) -> Callable[[Attacker], None]:
    listed = [{"id": str(number), "input": f"{number}\n", "expected": "1"} for number in range(tests)]

    def once(attacker: Attacker) -> None:
        fields = fields_of("python", code, tests=listed, stop_on_failure=False, limits=limits)
        attacker.send("/grade", json.dumps(fields).encode())

    return once


def _python(more: bytes) -> bytes:
    """A request with more fields."""
    return b'{"language":"python","code":"print(1)",' + more + b"}"


def _many_keys() -> bytes:
    keys = ",".join(f'"{number:x}":0' for number in range(1_500_000))
    return f'{{"code":"","language":"python","files":[{{{keys}}}]}}'.encode()


def attacks() -> dict[str, Attack]:
    """All of them, by name."""
    half = HEAD.encode()
    announced = half + b"Content-Length: 25000000\r\n\r\n"
    python = {name: Attack(8, _runs("python", code)) for name, code in programs.PYTHON.items()}
    return python | {
        "wall limit": Attack(4, _wall_limit),
        "all slots asleep": Attack(8, _runs("python", "import time\ntime.sleep(60)", timeout=60)),
        "compilations": Attack(8, _runs("rust", programs.SLOW_CONSTANT)),
        "slow types": Attack(8, _runs("typescript", programs.SLOW_TYPES)),
        "slow types, hung up": Attack(4, _hung_up),
        "many diagnostics": Attack(4, _runs("typescript", programs.MANY_DIAGNOSTICS)),
        "slow lexing": Attack(8, _runs("typescript", programs.SLOW_TO_LEX)),
        "little memory": Attack(8, _runs("typescript", "console.log(2)", memory_limit_mb=1)),
        "unread answers": Attack(4, _unread),
        "unread events": Attack(4, _unread_events),
        "small writes": Attack(8, _runs("rust", programs.SMALL_WRITES)),
        "small events": Attack(2, _small_events),
        "millions of keys": Attack(4, _body(_many_keys)),
        "millions of lists": Attack(4, _body(lambda: _python(b'"args":[' + b"[]," * (7 * MB) + b"[]]"))),
        "large bodies": Attack(4, _body(lambda: _python(b'"stdin":"' + b"x" * (15 * MB) + b'"'))),
        "escaped bodies": Attack(4, _body(lambda: _python(b'"stdin":"' + rb"\u0041" * (3 * MB) + b'"'))),
        "announced bodies": Attack(4, lambda attacker: attacker.hold(announced, 100), is_paced=False),
        "half requests": Attack(4, lambda attacker: attacker.hold(half, 600), is_paced=False),
        "connections": Attack(4, _connects, is_paced=False),
        "pipelines": Attack(4, _pipelines),
        "log flood": Attack(4, _log_flood, is_paced=False),
        "gradings": Attack(16, _grading("print(1)", 100)),
        "gradings at work": Attack(16, _grading("while True: pass", 100, cpu_time=5.0)),
        "gradings asleep": Attack(16, _grading("import time\ntime.sleep(9)", 100, wall_time=10.0)),
        "uploads": Attack(8, _upload),
        "problems": Attack(8, _problem),
    }


def attack(name: str, port: int) -> None:
    """Goes on until it is killed."""
    os.nice(NICE)
    what = attacks()[name]

    def go_on() -> None:
        attacker = Attacker(port)
        while True:
            due_s = time.monotonic() + (what.at_once / PER_S if what.is_paced else 0)
            with contextlib.suppress(OSError, http.client.HTTPException):
                what.once(attacker)
            os.write(sys.stdout.fileno(), b".")
            time.sleep(max(0.0, due_s - time.monotonic()))

    for _ in range(what.at_once):
        threading.Thread(target=go_on).start()


if __name__ == "__main__":
    attack(sys.argv[1], int(sys.argv[2]))
