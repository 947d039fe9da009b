"""A file system without room for one more byte: what needs none goes on, the rest is refused with a reason, and all is
as before when there is room again.

The disk is a small tmpfs in the server's own mount namespace; the host's mounts are never touched.
"""

import json
import signal
from collections.abc import Iterator

import pytest

from tests import posture, small_packages
from tests.functional.test_problems import grade, put, told
from tests.server import Server, until
from tests.small_disk import RUN, SmallDisk
from tests.small_packages import with_files

BACK_S = 8.0
PACKAGE = with_files(small_packages.LEGACY, {"problem.yaml": "name: Sum\nlimits:\n  time_limit: 3\n"})
SUM = "print(sum(map(int, input().split())))"


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers are their own."""


@pytest.fixture(scope="module")
def small() -> Iterator[SmallDisk]:
    with SmallDisk(state_mb=4, languages=["python", "rust"]) as server:
        yield server


def rust(number: int) -> str:
    return f'fn main() {{ println!("{{}}", {number} * 7); }}'


@pytest.mark.threat("D6")
def test_programs_run_and_are_compiled_though_nothing_can_be_written(small: SmallDisk) -> None:
    """The artefact cache does without: what was compiled is in memory for the next."""
    artefacts = small.inside(small.state) / "artifacts"
    with small.full(small.state):
        first = small.execute("rust", rust(3))
        again = small.execute("rust", rust(3))
        assert [first["output"], again["output"]] == ["21\n", "21\n"]
        assert (first["cached"], again["cached"]) == (False, True)
        until(lambda: "cannot keep an artefact on disk" in small.error_text(), BACK_S, "it is told")
        assert not any(artefacts.rglob("*.val"))
    assert small.execute("rust", rust(4))["output"] == "28\n"
    until(lambda: any(artefacts.rglob("*.val")), BACK_S, "artefacts are written again")


@pytest.mark.threat("D6")
def test_large_inputs_and_bodies_need_no_disk(small: SmallDisk) -> None:
    """Source, input and parsed bodies are in memory files, which a full disk does not concern."""
    text = "x" * (8 << 20)
    with small.full(small.state):
        answer = small.execute("python", "import sys; print(len(sys.stdin.read()))", stdin=text)
        assert answer["output"] == f"{len(text)}\n", answer["error"]
        tests = [{"input": text, "expected": str(len(text))}]
        fields = {"language": "python", "code": "print(len(input()))", "tests": tests}
        graded = small.request("POST", "/grade", json.dumps(fields).encode(), {"Content-Type": "application/json"})
        assert graded.status == 200 and graded.json["verdict"] == "AC", graded.text


@pytest.mark.threat("D6")
def test_a_problem_is_refused_while_there_is_no_room_and_stored_when_there_is(small: SmallDisk) -> None:
    """507 with a reason, nothing half written; what is stored already is graded by meanwhile."""
    assert put(small, "kept", PACKAGE).status == 201
    new = with_files(PACKAGE, {"data/secret/03.in": "1 1\n", "data/secret/03.ans": "2\n"})
    problems = small.inside(small.state) / "problems"
    with small.full(small.state):
        refused = put(small, "new", new)
        assert told(refused) == (507, "store_full"), refused.text
        assert refused.json["detail"]
        assert not list((problems / "incoming").iterdir())
        assert grade(small, "kept", SUM)["verdict"] == "AC"
        assert small.request("DELETE", "/problems/kept").status == 204, "room can be made"
    too_large = with_files(new, {"data/secret/04.in": "1 1" + " " * (5 << 20), "data/secret/04.ans": "2\n"})
    assert told(put(small, "new", too_large)) == (507, "store_full"), "the zip is small, its files have no room"
    assert not list((problems / "incoming").iterdir())
    stored = put(small, "new", new)
    assert stored.status == 201, stored.text
    assert grade(small, "new", SUM)["verdict"] == "AC"


@pytest.mark.threat("D6")
@pytest.mark.slow
def test_a_server_starts_on_a_full_disk_and_stores_when_there_is_room() -> None:
    with SmallDisk(state_mb=4, languages=["rust"]) as server:
        (first,) = server.processes("http")
        with server.full(server.state):
            first.send_signal(signal.SIGKILL)
            until(lambda: _runs(server, 5), BACK_S, "a program runs")
            assert told(put(server, "sum", PACKAGE)) in {(507, "store_full"), (503, "problems_unavailable")}
        until(lambda: put(server, "sum", PACKAGE).status == 201, BACK_S, "a problem is stored")


@pytest.mark.threat("D6")
@pytest.mark.slow
def test_a_keeper_that_dies_when_the_run_directory_is_full_is_back_with_the_room() -> None:
    """It cannot record its groups for its successor, so it does not begin: runs are refused, never run unrecorded."""
    with SmallDisk(state_mb=4, run_kb=64, languages=["python"]) as server:
        with server.full(RUN):
            assert server.execute("python", "print(1)")["output"] == "1\n"
            server.keeper.send_signal(signal.SIGKILL)
            answer = server.post({"language": "python", "code": "print('must not run')"})
            assert told(answer) == (503, "sandbox_unavailable"), answer.text
            assert answer.headers["Retry-After"] and answer.json["detail"]
        until(lambda: _runs(server, 2, "python", "print(14)"), BACK_S, "programs run again")
        until(lambda: posture.is_at_rest(server), BACK_S, "every pool is full again")


def _runs(server: Server, number: int, language: str = "rust", code: str = "") -> bool:
    try:
        answer = server.post({"language": language, "code": code or rust(number)})
    except OSError:
        return False
    return answer.status == 200 and answer.json["output"] == f"{number * 7}\n"
