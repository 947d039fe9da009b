"""What is sent: the options of each call, and from them the request."""

import base64
import dataclasses
import json
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Required, TypedDict

Files = Mapping[str, str | bytes]  # by name, relative to the source's folder


class RunOptions(TypedDict, total=False):
    """Of `run`, all optional: seconds of wall and of CPU time, MB of 2^20 bytes.

    `binary` True makes `stdout_bytes` and `stderr_bytes` of the result exact. `check` False leaves out the type check.
    """

    timeout: float | None
    stdin: str
    args: Sequence[str]
    memory_limit_mb: int | None
    cpu_time_limit: float | None
    check: bool
    files: Files
    binary: bool


class Checker(TypedDict, total=False):
    """Who compares a program's output with what is expected; docs/grading.md tells what each kind does."""

    kind: Required[Literal["exact", "lines", "tokens", "custom"]]
    case_sensitive: bool
    space_change_sensitive: bool
    float_tolerance: float | None
    float_relative_tolerance: float | None
    float_absolute_tolerance: float | None
    code: str
    language: str
    protocol: Literal["icpc", "testlib"]
    flags: Sequence[str]
    files: Files


class Limits(TypedDict, total=False):
    """Of each test: seconds, MB of 2^20 and KB of 2^10 bytes."""

    cpu_time: float
    wall_time: float | None
    memory_mb: int
    output_kb: int
    processes: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Test:
    """What a program reads, and what it is expected to print. `id` None: its number, from 1."""

    __test__: ClassVar = False  # for pytest, which takes classes of such names for its own

    input: str = ""
    expected: str = ""
    id: str | None = None
    args: Sequence[str] = ()


class GradeOptions(TypedDict, total=False):
    """Of `grade`, all optional."""

    checker: Checker
    limits: Limits
    stop_on_failure: bool
    files: Files


class ProblemOptions(TypedDict, total=False):
    """Of `grade_problem`, all optional. `name` is what the source's file is called, for packages with a main file."""

    files: Files
    name: str | None
    stop_on_failure: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One of HTTP. `content` is sent as it is, so that it can be sent again."""

    method: str
    path: str
    content: bytes | None = None
    content_type: str | None = None

    def headers(self, accept: str, token: str | None) -> dict[str, str]:
        """Those of this request. Raises ValueError, which does not repeat it, for a token that no header can hold."""
        if token is not None and not (token and token.isascii() and token.isprintable() and token == token.strip()):
            raise ValueError("A token is one line of ASCII without blanks around it, or None")
        found = {"Accept": accept, "Content-Type": self.content_type}
        found["Authorization"] = None if token is None else f"Bearer {token}"
        return {name: value for name, value in found.items() if value is not None}


def run(language: str, code: str, options: RunOptions) -> Request:
    """Raises ValueError for a number that JSON has not, such as infinity; all else is the server's to judge."""
    return _json("/execute", {"language": language, "code": code, **_with_files(options)})


def grade(language: str, code: str, tests: Iterable[Test], options: GradeOptions) -> Request:
    """Likewise."""
    body = {"language": language, "code": code, "tests": [_test(test) for test in tests], **_with_files(options)}
    if "checker" in options:
        body["checker"] = _with_files(options["checker"])
    return _json("/grade", body)


def grade_problem(problem: str, language: str, code: str, options: ProblemOptions) -> Request:
    """Likewise."""
    return _json(f"{_of_problem(problem)}/grade", {"language": language, "code": code, **_with_files(options)})


def put_problem(problem: str, package: bytes) -> Request:
    """`package` is a zip."""
    return Request("PUT", _of_problem(problem), package, "application/zip")


def get_problem(problem: str) -> Request:
    """What a stored problem is."""
    return Request("GET", _of_problem(problem))


def delete_problem(problem: str) -> Request:
    """Forgets it."""
    return Request("DELETE", _of_problem(problem))


PROBLEMS, LANGUAGES, HEALTH = Request("GET", "/problems"), Request("GET", "/languages"), Request("GET", "/health")


def call(method: str, path: str, body: object) -> Request:
    """Any other. Raises ValueError as `run`."""
    return Request(method, path) if body is None else _json(path, body, method)


def _of_problem(problem: str) -> str:
    return f"/problems/{urllib.parse.quote(problem, safe='')}"


def _json(path: str, body: object, method: str = "POST") -> Request:
    return Request(method, path, json.dumps(body, allow_nan=False).encode(), "application/json")


def _test(test: Test) -> dict[str, Any]:
    """As the server takes it: what is not said is not sent."""
    found: dict[str, Any] = {"input": test.input, "expected": test.expected, "args": list(test.args)}
    return found if test.id is None else {"id": test.id, **found}


def _with_files(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same as JSON has it."""
    found = dict(options)
    if "files" in found:
        found["files"] = [_file(name, content) for name, content in found["files"].items()]
    for name in ("args", "flags"):
        if name in found:
            found[name] = list(found[name])
    return found


def _file(name: str, content: str | bytes) -> dict[str, str]:
    if isinstance(content, str):
        return {"name": name, "content": content}
    return {"name": name, "content": base64.b64encode(content).decode(), "encoding": "base64"}
