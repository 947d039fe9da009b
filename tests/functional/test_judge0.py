"""Judge0's API over a real socket, of a server with tokens."""

import collections.abc
import contextlib
import http.server
import json
import pathlib
import pwd
import queue
import sqlite3
import threading
import time
from typing import Any

import pytest

from daemon.api import tokens
from tests.server import START_S, Answer, Server, readable, until

SECRETS = {name: tokens.PREFIX + character * 64 for name, character in (("ann", "a"), ("bob", "b"))}
CALL_AGAIN_S = 10.0
Call = tuple[str, str, bytes]  # method, path, body


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is this file's own."""


@pytest.fixture(scope="module")
def judge0(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    file = readable(tmp_path_factory.mktemp("tokens")) / "tokens.toml"
    file.write_text("".join(
        f'[[tokens]]\nid = "{name}"\nhash = "{tokens.hash_of(secret)}"\nscopes = ["run", "watch"]\n'
        for name, secret in SECRETS.items()
    ))  # fmt: skip
    file.chmod(0o644)
    settings = {"tokens_file": file, "judge0_callback_hosts": ["127.0.0.1"]}
    with Server(languages=["python"], dialects=["judge0"], **settings) as server:
        yield server


def ask(server: Server, method: str, path: str, fields: Any = None, client: str = "ann") -> Answer:
    headers = {"Content-Type": "application/json", "X-Auth-Token": SECRETS[client]}
    return server.request(method, f"/judge0{path}", None if fields is None else json.dumps(fields).encode(), headers)


def post(server: Server, path: str, fields: Any) -> Answer:
    return ask(server, "POST", path, fields)


def accepted(server: Server, code: str, **fields: Any) -> str:
    answer = post(server, "/submissions", {"language_id": 71, "source_code": code, **fields})
    assert answer.status == 201, answer.text
    return str(answer.json["token"])


def is_ended(server: Server, token: str) -> bool:
    return bool(ask(server, "GET", f"/submissions/{token}?fields=status_id").json["status_id"] > 2)


def ended(server: Server, token: str) -> dict[str, Any]:
    until(lambda: is_ended(server, token), START_S)
    found: dict[str, Any] = ask(server, "GET", f"/submissions/{token}").json
    return found


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


def test_another_clients_submission_is_not_there(judge0: Server) -> None:
    token = post(judge0, "/submissions?wait=true", {"language_id": 71, "source_code": "print(1)"}).json["token"]
    for method in ("GET", "DELETE"):
        assert ask(judge0, method, f"/submissions/{token}", client="bob").status == 404
    assert ask(judge0, "GET", f"/submissions/batch?tokens={token}", client="bob").json == {"submissions": [None]}
    assert ask(judge0, "GET", "/submissions", client="bob").json["submissions"] == []
    listed = ask(judge0, "GET", "/submissions?fields=token&per_page=1").json
    assert listed["submissions"] == [{"token": token}], "the newest first"


def test_what_has_ended_can_be_deleted_and_what_has_not_cannot(judge0: Server) -> None:
    token = accepted(judge0, "print(1)\nwhile True: pass", cpu_time_limit=0.5, cpu_extra_time=0)
    refused = ask(judge0, "DELETE", f"/submissions/{token}")
    assert refused.status == 400 and "cannot be deleted because its status is" in refused.json["error"]
    until(lambda: is_ended(judge0, token), START_S)
    deleted = ask(judge0, "DELETE", f"/submissions/{token}?fields=token,status_id")
    assert (deleted.status, deleted.json) == (200, {"token": token, "status_id": 5})
    assert ask(judge0, "GET", f"/submissions/{token}").status == 404


def test_it_runs_as_often_as_is_asked_for(judge0: Server) -> None:
    asked = {"language_id": 71, "source_code": "import time; time.sleep(0.1)", "number_of_runs": 3}
    started_s = time.monotonic()
    answer = post(judge0, "/submissions?wait=true&fields=status_id,number_of_runs,wall_time", asked)
    assert time.monotonic() - started_s >= 0.3
    assert (answer.json["status_id"], answer.json["number_of_runs"]) == (3, 3)
    assert 0.1 <= float(answer.json["wall_time"]) < 0.3, "of the last of them"
    wrong = post(judge0, "/submissions", {**asked, "number_of_runs": 21})
    assert (wrong.status, wrong.json) == (422, {"number_of_runs": ["must be less than or equal to 20"]})


def test_only_who_is_given_the_answer_has_been_told_it(judge0: Server) -> None:
    """Not one who polls the status, nor one whose request is refused: what was told gives way first."""

    def is_told() -> bool:
        path = pathlib.Path(judge0.state) / "judge0.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return bool(db.execute("SELECT told FROM submission WHERE token = ?", (token,)).fetchone()[0])

    token = accepted(judge0, "import sys; sys.stdout.buffer.write(bytes([255]))")
    until(lambda: is_ended(judge0, token), START_S)
    refused = ask(judge0, "GET", f"/submissions/{token}")
    assert refused.status == 400 and "use base64_encoded=true" in refused.json["error"]
    unknown = ask(judge0, "GET", f"/submissions/{token}?fields=stdout,nothing")
    assert (unknown.status, unknown.json) == (400, {"error": "invalid fields: [nothing]"})
    assert not is_told()
    everything = ask(judge0, "GET", f"/submissions/{token}?base64_encoded=true&fields=*").json
    assert (everything["stdout"], everything["status"]["id"], len(everything)) == ("/w==\n", 3, 35)
    assert is_told()


def test_workers_are_the_places_for_runs(judge0: Server) -> None:
    def workers() -> dict[str, int]:
        found: dict[str, int] = ask(judge0, "GET", "/workers").json[0]
        return found

    idle = workers()
    assert (idle["working"], idle["size"], idle["idle"]) == (0, 0, idle["available"])
    with judge0.running("python", "print(1, flush=True)\nwhile True: pass", SECRETS["bob"]):
        busy = workers()
        assert (busy["working"], busy["idle"]) == (1, idle["available"] - 1)
    until(lambda: workers() == idle, START_S)


@contextlib.contextmanager
def receiver(*answers: int) -> collections.abc.Iterator[tuple[str, "queue.Queue[Call]"]]:
    """Its URL, and what it was called with. It gives those answers in turn, 0 none at all, then 200."""
    calls: queue.Queue[Call] = queue.Queue()
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            calls.put((self.command, self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            if status := left.pop(0) if left else 200:
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

        do_GET = do_PUT

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/told", calls
        server.shutdown()


def test_a_callback_is_a_put_of_the_answer_and_follows_no_redirect(judge0: Server) -> None:
    with receiver(307) as (url, calls):
        token = accepted(judge0, "print(1)", callback_url=url)
        method, path, body = calls.get(timeout=START_S)
        told = json.loads(body)
        assert (method, path, told["token"], told["stdout"], told["status"]["id"]) == (
            "PUT",
            "/told",
            token,
            "MQo=\n",
            3,
        )
        waited = post(judge0, "/submissions?wait=true", {
            "language_id": 71, "source_code": "print(2)", "callback_url": url
        })  # fmt: skip
        _, path, body = calls.get(timeout=START_S)
        assert (path, json.loads(body)["token"]) == ("/told", waited.json["token"]), "and not /elsewhere before it"


def test_a_host_that_may_not_be_called_is_refused(judge0: Server) -> None:
    for url in ("http://localhost/", "http://127.0.0.1@example.org/", "http://127.0.0.2/", "ftp://127.0.0.1/"):
        answer = post(judge0, "/submissions", {"language_id": 71, "source_code": "print(1)", "callback_url": url})
        assert answer.status == 422 and list(answer.json) == ["callback_url"], answer.text


@pytest.mark.slow  # its pause is ten seconds
def test_a_callback_that_nobody_answers_is_tried_again(judge0: Server) -> None:
    with receiver(0, 0) as (url, calls):  # aiohttp itself repeats at once what a connection was closed on
        token = accepted(judge0, "print(1)", callback_url=url)
        started_s = time.monotonic()
        bodies = {calls.get(timeout=3 * CALL_AGAIN_S)[2] for _ in range(3)}
        assert [json.loads(body)["token"] for body in bodies] == [token]
        assert time.monotonic() - started_s > CALL_AGAIN_S / 2


@pytest.mark.slow  # until the HTTP process is there again
def test_what_was_answered_is_there_although_the_process_was_killed_at_once(judge0: Server) -> None:
    answer = post(judge0, "/submissions?wait=true", {"language_id": 71, "source_code": "print(3)"})
    judge0.http.kill()
    until(judge0.answers, START_S)
    assert ended(judge0, answer.json["token"]) == answer.json


@pytest.mark.slow  # until the leases of the dead process have run out
def test_what_was_accepted_is_run_although_the_process_was_killed(judge0: Server) -> None:
    """Those that ran, and those that waited, each once to its own answer."""
    jobs = [
        {"language_id": 71, "source_code": f"import time; time.sleep(0.5); print({number})"} for number in range(20)
    ]
    answers = post(judge0, "/submissions/batch", {"submissions": jobs}).json
    judge0.http.kill()
    until(judge0.answers, START_S)
    assert [ended(judge0, one["token"])["stdout"] for one in answers] == [f"{number}\n" for number in range(20)]


def test_the_file_belongs_to_the_user_of_the_http_process(judge0: Server) -> None:
    """And not to whoever looked at it before the start."""
    owner = (pathlib.Path(judge0.state) / "judge0.sqlite").stat().st_uid
    assert owner == pwd.getpwnam("cellblock").pw_uid


def test_a_submission_that_is_not_there_is_404(judge0: Server) -> None:
    assert ask(judge0, "GET", "/submissions/none").status == 404


@pytest.mark.slow  # a server of its own
def test_several_processes_have_the_same_submissions() -> None:
    """An answer that one of them gave a moment ago is shown and deleted by any other."""
    with Server(healthy=False, languages=["python"], dialects=["judge0"], http_processes=2) as server:
        for number in range(20):
            answer = post(server, "/submissions?wait=true", {"language_id": 71, "source_code": f"print({number})"}).json
            path = f"/submissions/{answer['token']}"
            assert [ask(server, "GET", path).json for _ in range(3)] == [answer] * 3
            assert ask(server, "DELETE", path).status == 200
            assert [ask(server, "GET", path).status for _ in range(3)] == [404] * 3
