"""Judge0's API over a real socket."""

import collections.abc
import json
import pathlib
import pwd
from typing import Any

import pytest

from tests.server import START_S, Answer, Server, until


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is this file's own."""


@pytest.fixture(scope="module")
def judge0() -> collections.abc.Iterator[Server]:
    with Server(languages=["python"], dialects=["judge0"]) as server:
        yield server


def post(server: Server, path: str, fields: Any) -> Answer:
    return server.request("POST", f"/judge0{path}", json.dumps(fields).encode(), {"Content-Type": "application/json"})


def ended(server: Server, token: str) -> dict[str, Any]:
    def answer() -> dict[str, Any]:
        found: dict[str, Any] = server.request("GET", f"/judge0/submissions/{token}").json
        return found

    until(lambda: answer()["status"]["id"] > 2, START_S)
    return answer()


def test_who_waits_has_the_answer_and_its_token_later(judge0: Server) -> None:
    fields = {"language_id": 71, "source_code": "print(input())", "stdin": "a", "expected_output": "b"}
    answer = post(judge0, "/submissions?wait=true", fields)
    assert (answer.status, answer.json["stdout"], answer.json["status"]) == (
        201, "a\n", {"id": 4, "description": "Wrong Answer"}
    )  # fmt: skip
    assert ended(judge0, answer.json["token"]) == answer.json


def test_a_batch_is_accepted_but_for_what_is_wrong(judge0: Server) -> None:
    answer = post(judge0, "/submissions/batch", {
        "submissions": [{"language_id": 71, "source_code": "print(1)"}, {"language_id": 1, "source_code": "x"}]
    })  # fmt: skip
    assert (answer.status, answer.json[1]) == (201, {"language_id": ["language with id 1 doesn't exist"]})
    assert ended(judge0, answer.json[0]["token"])["stdout"] == "1\n"


def test_what_was_answered_is_there_although_the_process_was_killed_at_once(judge0: Server) -> None:
    answer = post(judge0, "/submissions?wait=true", {"language_id": 71, "source_code": "print(3)"})
    judge0.http.kill()
    until(judge0.answers, START_S)
    assert ended(judge0, answer.json["token"]) == answer.json


@pytest.mark.slow  # until the lease of the dead process has run out
def test_what_was_accepted_is_run_although_the_process_was_killed(judge0: Server) -> None:
    token = post(judge0, "/submissions", {"language_id": 71, "source_code": "print(2)"}).json["token"]
    judge0.http.kill()
    until(judge0.answers, START_S)
    assert ended(judge0, token)["stdout"] == "2\n"


def test_the_file_belongs_to_the_user_of_the_http_process(judge0: Server) -> None:
    """And not to whoever looked at it before the start."""
    owner = (pathlib.Path(judge0.state) / "judge0.sqlite").stat().st_uid
    assert owner == pwd.getpwnam("cellblock").pw_uid


def test_a_submission_that_is_not_there_is_404(judge0: Server) -> None:
    assert judge0.request("GET", "/judge0/submissions/none").status == 404
