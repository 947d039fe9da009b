"""A real `cellblock serve` under test: start it, post to it over its socket, find its processes, stop it."""

import collections.abc
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from typing import Any

import psutil

PREFIX = pathlib.Path(os.environ.get("CELLBLOCK_PREFIX", "/var/lib/cellblock"))
COMMAND = str(pathlib.Path(sys.executable).parent / "cellblock")
START_S = float(os.environ.get("CELLBLOCK_TEST_START_S", "30"))
SLACK_S = float(os.environ.get("CELLBLOCK_TEST_SLACK_S", "0.1"))  # from a limit, or a program's end, to its answer
IS_EMULATED = "CELLBLOCK_TEST_SLACK_S" in os.environ  # tests/vm: no promise in milliseconds can be tested there
LANGUAGES = ("python", "rust", "typescript")  # of a server that is not told: what `./bootstrap languages` adds is apart
_numbers = itertools.count(1)


def until(condition: Any, seconds: float, what: str = "") -> None:
    """Wait for something that nobody signals. Fails when it does not come true in time."""
    tick = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        tick.wait(0.01)


def readable(folder: pathlib.Path) -> pathlib.Path:
    """Let other users pass into a folder of pytest's, which are private: the HTTP process reads toolchain files."""
    for path in (folder, *folder.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    return folder


class Answer:
    """Status, headers and decoded body of one response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Server:
    """`with Server(setting=value) as server`: an instance of its own on a free port, ended by SIGTERM.

    `healthy` False does not wait until /health says so. `stderr` is where its log goes; where it is not given, to a file
    that `error_text` reads.
    """

    def __init__(self, healthy: bool = True, stderr: int | None = None, **settings: Any) -> None:
        self.healthy, self.stderr = healthy, stderr
        self.http_processes: int = settings.get("http_processes", 1)
        if "toolchain_folders" not in settings:
            settings.setdefault("languages", LANGUAGES)
        self.instance = f"test-{os.getpid()}-{next(_numbers)}"
        self.state = f"/tmp/cellblock-{self.instance}"
        self.environment = {
            **os.environ,
            "CELLBLOCK_INSTANCE": self.instance,
            "CELLBLOCK_STATE": self.state,
            "CELLBLOCK_DRAIN_S": "2",
            "CELLBLOCK_SELF_TEST_S": "3600",  # beyond the first: posture counts processes of jails
            **{f"CELLBLOCK_{name.upper()}": _as_text(value) for name, value in settings.items()},
        }
        self.secret = uuid.uuid4().hex
        self.environment["SECRET_OF_THE_HOST"] = self.secret  # no program may find it
        self.command = [COMMAND, "serve", "--port", "0"]
        self.port = 0
        self.log = ""
        self._found: dict[str, psutil.Process] = {}  # by what `processes` calls them

    def __enter__(self) -> "Server":
        with contextlib.ExitStack() as stack:
            errors = stack.enter_context(tempfile.TemporaryFile())
            self.errors = errors
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors if self.stderr is None else self.stderr,
                text=True,
            )
            stack.callback(self.stop)
            assert self.process.stdout is not None
            first = self.process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)", first)
            assert found is not None, f"no address in {first!r}; {self.error_text()}"
            self.port = int(found[1])
            stack.pop_all()
        try:
            until(self.answers, START_S, "answers")
            if self.healthy:
                self.wait_healthy()
        except AssertionError:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Idempotent."""
        if self.errors.closed:
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.log = self.error_text()
        self.errors.close()
        shutil.rmtree(self.state, ignore_errors=True)
        assert self.process.returncode != 0 or not self.run_directory().exists()

    def error_text(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode()

    def wait_healthy(self, seconds: float = START_S) -> None:
        until(lambda: self.is_healthy(), seconds, "healthy")

    def answers(self) -> bool:
        try:
            return self.request("GET", "/").status == 200
        except OSError:
            return False

    def is_healthy(self) -> bool:
        try:
            return self.request("GET", "/health").status == 200
        except OSError:
            return False

    # -- requests

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 90,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, fields: Any, **headers: str) -> Answer:
        body = json.dumps(fields).encode()
        return self.request("POST", "/execute", body, {"Content-Type": "application/json", **headers})

    def execute(self, language: str, code: str, **fields: Any) -> dict[str, Any]:
        """The body of a 200."""
        answer = self.post({"language": language, "code": code, **fields})
        assert answer.status == 200, answer.text
        result: dict[str, Any] = answer.json
        return result

    def execute_timed(self, language: str, code: str, **fields: Any) -> tuple[dict[str, Any], float]:
        """The body of a 200, and the seconds from before the request until all of the answer is here."""
        started_s = time.monotonic()
        result = self.execute(language, code, **fields)
        return result, time.monotonic() - started_s

    @contextlib.contextmanager
    def running(
        self, language: str, code: str, token: str | None = None, **fields: Any
    ) -> collections.abc.Iterator[None]:
        """A program that has said its first word and goes on until the end of the block, where its client hangs up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"language": language, "code": code, **fields})
        try:
            headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            connection.request("POST", "/execute", body, headers)
            response = connection.getresponse()
            for line in response:
                assert not line.startswith((b"event: result", b"event: error")), response.readline()
                if line.startswith(b"event: stdout"):
                    break
            yield
        finally:
            connection.close()

    # -- processes

    def processes(self, module: str) -> list[psutil.Process]:
        """Descendants of the supervisor by what their command line says: daemon.keeper, http, nsjail, daemon.warden."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = process.cmdline()
                if module in command or pathlib.PurePath(*command[:1]).name == module:
                    found.append(process)
        return found

    @property
    def keeper(self) -> psutil.Process:
        return self._only("daemon.keeper")

    @property
    def http(self) -> psutil.Process:
        return self._only("http")

    def _only(self, module: str) -> psutil.Process:
        """It is looked for again only when the one that was found last is dead: to look through all of /proc takes long."""
        known = self._found.get(module)
        if known is None or not known.is_running() or known.status() == psutil.STATUS_ZOMBIE:
            (self._found[module],) = self.processes(module)
        return self._found[module]

    def nsjails(self) -> list[psutil.Process]:
        return self.processes("nsjail")

    def wardens(self) -> list[psutil.Process]:
        return [child for nsjail in self.nsjails() for child in nsjail.children()]

    def nsjail(self, language: str) -> psutil.Process:
        """The one that the first warden of this language lives in, which is its child."""
        named = f"/cellblock-{self.instance}/warden-{language}-"
        return next(one for one in self.nsjails() if named in pathlib.Path(f"/proc/{one.pid}/cgroup").read_text())

    def warden(self, language: str) -> psutil.Process:
        (warden,) = self.nsjail(language).children()
        return warden

    def helpers(self, language: str) -> list[psutil.Process]:
        """The warden's children that are no jails, whose uid is its own: zygote where there is one, then maker."""
        warden = self.warden(language)
        return sorted(
            (child for child in warden.children() if child.uids().real == warden.uids().real),
            key=lambda child: child.pid,
        )

    def groups(self) -> list[pathlib.Path]:
        """The top groups of this instance that hold its jails; that of the cores (v1) holds none."""
        found = [pathlib.Path(path) for path in json.loads(self._record().read_text())]
        return [path for path in found if "cpuset" not in path.parts]

    def _record(self) -> pathlib.Path:
        return self.run_directory() / "groups.json"

    def run_directory(self) -> pathlib.Path:
        return pathlib.Path("/run/cellblock", self.instance)


def _as_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | tuple) else str(value)


def facts(server: Server, code: str, **fields: Any) -> object:
    """What a Python program prints as JSON; it has json, os and sys."""
    answer = server.execute("python", "import json, os, sys\n" + code, **fields)
    assert answer["error"] is None, answer["error"]
    return json.loads(answer["output"])
