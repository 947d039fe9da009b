"""Judge0's submissions where their file cannot be used: found at the start, or told and put right while it serves."""

import json
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.server import START_S, Answer, Server, until
from tests.small_disk import SmallDisk

PRINT = {"language_id": 71, "source_code": "print(1)"}
BACK_S = 10.0


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers are their own."""


def _corrupt(path: pathlib.Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    path.chmod(0o666)


def _take_away(path: pathlib.Path) -> None:
    path.touch(mode=0o600)  # root's


@pytest.mark.parametrize(
    ("spoil", "cause", "remedy"),
    [
        (_corrupt, "file is not a database", "move the file"),
        pytest.param(_take_away, "unable to open database file", "user may read and write", marks=pytest.mark.slow),
        pytest.param(pathlib.Path.mkdir, "unable to open database file", "it must be a file", marks=pytest.mark.slow),
    ],
)
def test_a_server_whose_store_cannot_be_opened_says_why_and_does_not_start(
    spoil: Callable[[pathlib.Path], None], cause: str, remedy: str
) -> None:
    """It served everything else, and its HTTP process was started again and again."""
    server = Server(languages=["python"], dialects=["judge0"])
    state = pathlib.Path(server.state)
    state.mkdir()
    try:
        spoil(state / "judge0.sqlite")
        done = subprocess.run(
            server.command, env=server.environment, capture_output=True, text=True, timeout=START_S, check=False
        )
    finally:
        shutil.rmtree(state)
    assert done.returncode == 125, done.stderr
    told = json.loads(done.stderr.splitlines()[-1])["event"]
    assert f"{state}/judge0.sqlite: {cause}" in told and remedy in told, told


@pytest.fixture(scope="module")
def small() -> Iterator[SmallDisk]:
    with SmallDisk(state_mb=8, languages=["python"], dialects=["judge0"]) as server:
        yield server


def post(server: Server, path: str, fields: object = PRINT) -> Answer:
    return server.request("POST", f"/judge0{path}", json.dumps(fields).encode(), {"Content-Type": "application/json"})


def status(server: Server, token: str) -> int:
    answer = server.request("GET", f"/judge0/submissions/{token}")
    return int(answer.json["status"]["id"]) if answer.status == 200 else 0


@pytest.mark.threat("D6")
@pytest.mark.slow
def test_nothing_is_accepted_and_nothing_lost_while_the_disk_is_full(small: SmallDisk) -> None:
    """What is no submission goes on; /health says why, and what to do."""
    large = {**PRINT, "stdin": "x" * (1 << 20)}
    accepted = post(small, "/submissions").json["token"]
    until(lambda: status(small, accepted) == 3, BACK_S, "it has run")
    with small.full(small.state):
        refused = post(small, "/submissions", large)
        assert (refused.status, refused.json) == (503, {"error": "Submissions cannot be stored or read right now"})
        assert refused.headers["Retry-After"]
        assert post(small, "/submissions?wait=true", large).status == 503
        health = small.request("GET", "/health")
        assert health.status == 503 and "make room" in health.json["problems"]["judge0"], health.text
        assert small.request("GET", "/health/ready").status == 200
        assert small.execute("python", "print(7)")["output"] == "7\n"
        assert status(small, accepted) == 3
    until(small.is_healthy, BACK_S, "it is noticed that there is room")
    answer = post(small, "/submissions?wait=true", large)
    assert (answer.status, answer.json["stdout"]) == (201, "1\n"), answer.text
    assert "submissions are stored again" in small.error_text()


@pytest.mark.threat("D6")
@pytest.mark.slow
def test_an_http_process_that_begins_on_a_full_disk_serves_the_rest(small: SmallDisk) -> None:
    """What was accepted before is there when there is room again."""
    accepted = post(small, "/submissions").json["token"]
    (first,) = small.processes("http")
    with small.full(small.state):
        first.send_signal(signal.SIGKILL)
        until(small.answers, START_S, "it answers")
        assert small.execute("python", "print(7)")["output"] == "7\n"
    until(lambda: status(small, accepted) == 3, START_S, "it has run")
