"""What clients ask for while a server is beaten, and which answer is right: every program's is known."""

import dataclasses
import itertools
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from daemon.api.error_codes import CODES
from daemon.toolchain.registry import Registry
from tests import small_packages
from tests.small_packages import with_files, zip_bytes

TIMEOUT_S = 30  # a program that is stopped for a while is not a program that is slow
INPUT_BYTES = 300_000  # so large a body is parsed by a process of its own
TALKS_EVERY = 3  # each third run is followed as an event stream
DISTINCT = 20  # programs of a compiled language, so that some were compiled before
MANY_THREADS = 80
LIMIT_OF_MEMORY = (
    "x = b'x' * (1 << 20)\nheld = []\nwhile len(held) < 160:\n    held.append(bytearray(x))\nprint('unlimited')"
)
LIMITS = f"""
import json, os, resource, threading
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
names = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
over = threading.Event()
threads = 0
try:
    for _ in range({MANY_THREADS}):
        threading.Thread(target=over.wait).start()
        threads += 1
except RuntimeError:
    pass
over.set()
print(json.dumps({{
    "seccomp": status["Seccomp"].strip(), "no_new_privileges": status["NoNewPrivs"].strip(), "capabilities": status["CapBnd"].strip(),
    "rlimits": {{name: resource.getrlimit(getattr(resource, name)) for name in names}},
    "groups": sorted(line.rpartition(":")[2].strip() for line in open("/proc/self/cgroup")),
    "devices": [line.split(":")[0].strip() for line in open("/proc/self/net/dev") if ":" in line],
    "routes": open("/proc/self/net/route").read().splitlines()[1:],
    "pid": os.getpid(), "root": sorted(os.listdir("/")), "threads": threads,
}}))
"""
FACTS = {"seccomp": "2", "no_new_privileges": "1", "capabilities": "0" * 16, "routes": []}


class Wrong(Exception):
    """An answer that no server may give, whatever is done to it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """`check` raises Wrong for the body of a 200 or 201 that is not right. `streams`: it is asked for as events."""

    name: str
    method: str
    path: str
    body: bytes
    check: Callable[[Mapping[str, Any]], None]
    streams: bool = False
    content_type: str = "application/json"


def check_refusal(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The code of an answer that is an error. Raises Wrong where it is undocumented, incomplete or a defect."""
    code = body.get("code", "")
    documented = CODES.get(code)
    is_ours = status >= 500 or status in (408, 429)  # nothing is wrong with what these clients ask for
    if (
        documented is None
        or documented.status != status
        or code == "internal_error"
        or not (is_ours and body.get("detail"))
    ):
        raise Wrong(f"{status} {dict(body)}")
    if documented.retry and not headers.get("Retry-After"):
        raise Wrong(f"{status} {code} without Retry-After")
    return code


class Requests:
    """Requests without an end, in an order that follows from the seed; `client` is in each of their names and programs."""

    def __init__(self, toolchains: Registry, seed: int, client: int) -> None:
        self._chance = random.Random(f"{seed}/{client}")
        self._numbers = itertools.count()
        self._client = client
        self._hellos = [
            (one.id, program.code, program.output, len(one.steps) > 1)
            for one in toolchains
            if one.bench is not None
            for program in one.bench.programs[:1]
        ]
        self._limits_before: Mapping[str, Any] | None = None

    def languages(self) -> list[str]:
        return [language for language, *_ in self._hellos]

    def next(self) -> Request:
        kinds = [
            self.hello,
            self.hello,
            self.large,
            self.lexed,
            self.graded,
            self.limits,
            self.memory,
            self.package,
            self.judged,
        ]
        return self._chance.choice(kinds)()

    def hello(self, language: str | None = None, is_new: bool = False) -> Request:
        found = self._hellos if language is None else [one for one in self._hellos if one[0] == language]
        name, code, output, compiles = self._chance.choice(found)
        number = next(self._numbers)
        nonce = f"{self._client}-{number % DISTINCT if compiles and not is_new else number}"
        code = code.replace("NONCE", nonce)
        return _run(f"hello in {name}", name, code, output.replace("NONCE", nonce), streams=number % TALKS_EVERY == 0)

    def large(self) -> Request:
        text = "x" * INPUT_BYTES
        return _run("large input", "python", "import sys; print(len(sys.stdin.read()))", f"{INPUT_BYTES}\n", stdin=text)

    def lexed(self) -> Request:
        """A construct that is forbidden, in a comment: only the lexer's process knows that it is one."""
        number = next(self._numbers)
        code = f"import socket\n# socket.create_connection(('x', 1))\nprint({number})"
        return _run("lexed", "python", code, f"{number}\n")

    def graded(self) -> Request:
        number = next(self._numbers)
        tests = [{"input": f"{left} {number}", "expected": str(left + number)} for left in range(3)]
        code, verdict = self._chance.choice(
            [
                ("print(sum(map(int, input().split())))", "AC"),
                ("print(sum(map(int, input().split())) + 1)", "WA"),
                ("raise SystemExit(3)", "RE"),
                ("while True: pass", "TLE"),
            ]
        )
        limits = {"cpu_time": 0.2, "wall_time": TIMEOUT_S} if verdict == "TLE" else {"wall_time": TIMEOUT_S}
        fields = {"language": "python", "code": f"{code}  # {number}", "tests": tests, "limits": limits}
        return Request("grading", "POST", "/grade", json.dumps(fields).encode(), _is_verdict(verdict), number % 2 == 0)

    def limits(self) -> Request:
        return _execute("limits", {"language": "python", "code": LIMITS, "timeout": TIMEOUT_S}, self._is_limited)

    def memory(self) -> Request:
        def check(answer: Mapping[str, Any]) -> None:
            if answer["reason"] != "memory_limit":
                raise Wrong(f"160 MB were not too much: {dict(answer)}")

        return _execute("memory", {"language": "python", "code": LIMIT_OF_MEMORY, "timeout": TIMEOUT_S}, check)

    def package(self) -> Request:
        """Another version of this client's problem, so that a process unpacks and reads it."""
        number = next(self._numbers)
        changes = {
            "problem.yaml": f"name: Sum\nlimits:\n  time_limit: {TIMEOUT_S}\n",
            "data/secret/03.in": f"1 {number}\n",
            "data/secret/03.ans": f"{1 + number}\n",
        }
        path, content = f"/problems/chaos-{self._client}", zip_bytes(with_files(small_packages.LEGACY, changes))
        return Request("package", "PUT", path, content, lambda answer: None, content_type="application/zip")

    def judged(self) -> Request:
        fields = {"language": "python", "code": f"print(sum(map(int, input().split())))  # {next(self._numbers)}"}
        path = f"/problems/chaos-{self._client}/grade"
        return Request("judged", "POST", path, json.dumps(fields).encode(), _is_verdict("AC"))

    def _is_limited(self, answer: Mapping[str, Any]) -> None:
        """As of the first time, when nothing was done to the server yet; threads may be fewer, never more."""
        try:
            seen = json.loads(answer["output"])
        except ValueError:
            raise Wrong(f"limits: {dict(answer)}") from None
        threads = seen.pop("threads")
        if {name: seen[name] for name in FACTS} != FACTS or threads >= MANY_THREADS:
            raise Wrong(f"a run without its limits: {threads} threads, {seen}")
        if self._limits_before is None:
            self._limits_before = seen
        if seen != self._limits_before:
            raise Wrong(f"a run with other limits: {seen}, not {self._limits_before}")


def _run(name: str, language: str, code: str, output: str, streams: bool = False, **fields: Any) -> Request:
    def check(answer: Mapping[str, Any]) -> None:
        if answer["output"] != output or not answer["success"]:
            raise Wrong(f"{name}: {dict(answer)}, not {output!r}")

    return _execute(name, {"language": language, "code": code, "timeout": TIMEOUT_S, **fields}, check, streams)


def _execute(
    name: str, fields: dict[str, Any], check: Callable[[Mapping[str, Any]], None], streams: bool = False
) -> Request:
    return Request(name, "POST", "/execute", json.dumps(fields).encode(), check, streams)


def _is_verdict(verdict: str) -> Callable[[Mapping[str, Any]], None]:
    def check(answer: Mapping[str, Any]) -> None:
        if answer["verdict"] not in (verdict, "IE"):  # the grader's own failure, which counts against nobody
            raise Wrong(f"{answer['verdict']}, not {verdict}: {dict(answer)}")

    return check
