"""The dialects of Jobe and SandboxFusion over a real socket: what reaches the jail, and what comes back from it."""

import base64
import collections.abc
import json
import time
from typing import Any

import pytest

from daemon.api import tokens
from tests.server import Answer, Server, readable

JSON = {"Content-Type": "application/json"}
JOBE = "/jobe/index.php/restapi"
SECRET = tokens.PREFIX + "7" * 64


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """These have a server of their own."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    file = readable(tmp_path_factory.mktemp("tokens")) / "tokens.toml"
    file.write_text(f'[[tokens]]\nid = "moodle"\nhash = "{tokens.hash_of(SECRET)}"\nscopes = ["run"]\n')
    file.chmod(0o644)
    settings = {"languages": ["python", "rust"], "dialects": ["jobe", "sandboxfusion"], "tokens_file": file}
    with Server(healthy=False, runs_at_once=1, queue=0, **settings) as running:
        yield running


def post(server: Server, path: str, fields: Any, method: str = "POST", **headers: str) -> Answer:
    if not headers:
        headers = {"X-API-KEY": SECRET} if path.startswith(JOBE) else {"Authorization": f"Bearer {SECRET}"}
    return server.request(method, path, json.dumps(fields).encode(), {**JSON, **headers})


def run(server: Server, code: str, language: str = "python3", **spec: Any) -> Answer:
    return post(server, f"{JOBE}/runs/", {"run_spec": {"language_id": language, "sourcecode": code, **spec}})


def test_a_compiler_gets_the_options_that_its_toolchain_takes(server: Server) -> None:
    """A parked rustc has its command line already; and what was compiled without an option is not taken for it."""
    code = 'fn main() { let x: i32 = std::env::args().count() as i32; println!("{}", (i32::MAX - 1 + x + x) < 0); }'
    checked = {"parameters": {"compileargs": ["-Coverflow-checks=yes"]}}
    assert run(server, code, "rust").json["stdout"] == "true\n"
    overflow = run(server, code, "rust", **checked).json
    assert (overflow["outcome"], "attempt to add with overflow" in overflow["stderr"]) == (12, True)
    assert run(server, code, "rust").json["stdout"] == "true\n"
    assert "-Clinker=sh" in run(server, code, "rust", parameters={"compileargs": ["-Clinker=sh"]}).text


def run_code(server: Server, code: str, language: str = "python", **fields: Any) -> dict[str, Any]:
    answer = post(server, "/run_code", {"code": code, "language": language, **fields})
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_jobe_runs_a_program_with_a_file_that_its_client_has_put(server: Server) -> None:
    asked = {"file_list": [["abcdef123", "in.txt"]], "parameters": {"runargs": ["one"]}, "input": "two"}
    code = "import sys\nprint(open('in.txt').read(), sys.argv[1], input())"
    path = f"{JOBE}/files/abcdef123"
    assert server.request("HEAD", path, headers={"X-API-KEY": SECRET}).status == 404
    missing = run(server, code, **asked)
    assert (missing.status, missing.json) == (404, "One or more of the specified files is missing/unavailable")
    assert post(server, path, {"file_contents": base64.b64encode(b"zero").decode()}, "PUT").status == 204
    assert server.request("HEAD", path, headers={"X-API-KEY": SECRET}).status == 204
    answer = run(server, code, **asked).json
    assert {**answer, "run_id": ""} == {
        "run_id": "",
        "outcome": 15,
        "cmpinfo": "",
        "stdout": "zero one two\n",
        "stderr": "",
    }


def test_jobe_tells_errors_as_texts_with_its_own_statuses(server: Server) -> None:
    without = post(server, f"{JOBE}/runs", {}, Accept="*/*")
    assert (without.status, type(without.json)) == (403, str)
    assert post(server, f"{JOBE}/runs", {}, **{"X-API-KEY": "wrong"}).status == 403
    assert run(server, "", "cobol").json == "Language 'cobol' is not known"
    broken = post(server, f"{JOBE}/files/abcdef123", {"file_contents": "=x"}, "PUT")
    assert (broken.status, "valid base-64" in broken.json) == (400, True)
    assert server.request("PUT", f"{JOBE}/files/abcdef123", b"{", {**JSON, "X-API-KEY": SECRET}).status == 400
    assert server.request("GET", f"{JOBE}/languages", headers={"X-API-KEY": SECRET}).json[0][0] == "python3"


def test_jobe_tells_a_forbidden_construct_and_no_place_as_outcomes(server: Server) -> None:
    forbidden = "import socket\nsocket.create_connection(('example.org', 80))"
    assert run(server, forbidden).json["outcome"] == 19
    assert run(server, "!** TESTING OVERLOAD EXCEPTION **!").json["outcome"] == 21
    with server.running("python", "print(1, flush=True)\nwhile True: pass", token=SECRET):
        answer = run(server, "")
    assert (answer.status, answer.json["outcome"], answer.headers["Retry-After"]) == (200, 21, "1")


@pytest.mark.slow
def test_jobe_waits_ten_seconds_for_a_turn() -> None:
    with Server(languages=["python"], dialects=["jobe"], runs_at_once=1, healthy=False) as busy:
        with busy.running("python", "print(1, flush=True)\nwhile True: pass", timeout=30):
            began_s = time.monotonic()
            answer = post(
                busy, f"{JOBE}/runs", {"run_spec": {"language_id": "python3", "sourcecode": ""}}, Host="localhost"
            )
            waited_s = time.monotonic() - began_s
        after = post(busy, f"{JOBE}/runs", {"run_spec": {"language_id": "python3", "sourcecode": ""}}, Host="localhost")
    assert (answer.json["outcome"], answer.headers["Retry-After"], after.json["outcome"]) == (21, "1", 15)
    assert 9.9 < waited_s < 15


@pytest.mark.threat("F9")
def test_run_leaves_plain_files_and_nothing_that_leads_elsewhere(server: Server) -> None:
    code = (
        "import os\nos.makedirs('d'); open('d/made', 'wb').write(bytes(range(256)))\n"
        "os.symlink('d/made', 'link'); os.mkfifo('fifo'); os.symlink('/etc', 'etc')\n"
        "open('large', 'wb').truncate(40 << 20); open('empty', 'w')\nraise SystemExit(3)"
    )
    names = ["d/made", "link", "fifo", "d", "none", "large", "empty"]
    answer = run_code(server, code, fetch_files=[*names, "etc/passwd"])
    assert (answer["status"], answer["run_result"]["return_code"]) == ("Failed", 3)
    assert answer["files"] == {"d/made": base64.b64encode(bytes(range(256))).decode(), "empty": ""}


def test_compiled_program_leaves_files_too_and_has_a_compile_result(server: Server) -> None:
    code = 'fn main() { std::fs::write("a", std::fs::read("in").unwrap()).unwrap(); println!("ran"); }'
    answer = run_code(server, code, "rust", files={"in": base64.b64encode(b"x").decode()}, fetch_files=["a"])
    assert (answer["status"], answer["files"], answer["run_result"]["stdout"]) == ("Success", {"a": "eA=="}, "ran\n")
    assert answer["compile_result"]["return_code"] == 0


def test_compiler_ends_at_the_time_that_it_was_given(server: Server) -> None:
    answer = run_code(server, 'fn main() { println!("slow"); }', "rust", compile_timeout=0.001)
    assert (answer["status"], answer["compile_result"]["status"], answer["run_result"]) == (
        "Failed", "TimeLimitExceeded", None,
    )  # fmt: skip


@pytest.mark.threat("F9")
def test_file_that_is_swapped_all_the_time_is_a_plain_one_or_absent(server: Server) -> None:
    """A process of the program outlives it and goes on, while its file is opened and until the jail is killed."""
    code = (
        "import os, sys\nopen('plain', 'w').write('own')\n"
        "if os.fork() == 0:\n while True:\n"
        "  for make in (lambda: os.symlink('/etc/passwd', 'new'), lambda: os.mkfifo('new'), lambda: os.link('plain', 'new')):\n"
        "   make(); os.rename('new', 'a')\n"
    )
    for _ in range(5):
        assert run_code(server, code, fetch_files=["a"])["files"] in ({}, {"a": base64.b64encode(b"own").decode()})


def test_limit_of_time_is_told_and_what_was_printed_before(server: Server) -> None:
    answer = run_code(server, "print('before', flush=True)\nwhile True: pass", run_timeout=0.2, fetch_files=["a"])
    ran = answer["run_result"]
    assert (answer["status"], ran["status"], ran["return_code"], ran["stdout"]) == (
        "Failed", "TimeLimitExceeded", None, "before\n",
    )  # fmt: skip


def test_program_that_is_not_run_here_fails_and_is_not_tried_again(server: Server) -> None:
    answer = run_code(server, "import socket\nsocket.create_connection(('example.org', 80))")
    assert (answer["status"], answer["run_result"]) == ("Failed", None)
    assert "Potentially dangerous" in answer["message"]
    assert run_code(server, "#" * (1 << 17))["message"].startswith("Code too long")


def test_body_that_is_wrong_is_told_as_fastapi_tells_it(server: Server) -> None:
    answer = post(server, "/run_code", {"code": "", "language": "python", "fetch_files": ["x"] * 9})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "fetch_files"])
    assert post(server, "/run_code", {"code": "", "language": "cobol"}).status == 422
    assert post(server, "/run_code", {"code": "", "language": "python"}, Accept="*/*").status == 401
    assert server.request("GET", "/v1/ping", headers={"Authorization": f"Bearer {SECRET}"}).json == "pong"


def test_large_body_is_parsed_elsewhere_and_arrives_whole(server: Server) -> None:
    data = bytes(range(256)) * 2000
    answer = run_code(
        server, "print(len(open('big', 'rb').read()), len(input()))", files={"big": base64.b64encode(data).decode()},
        stdin="x" * 300_000, fetch_files=["big"],
    )  # fmt: skip
    assert answer["run_result"]["stdout"] == "512000 300000\n"
    assert base64.b64decode(answer["files"]["big"]) == data
