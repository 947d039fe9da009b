"""The base HTTP contract: answers, errors, CORS, and what is refused."""

import contextlib
import gzip
import json
import socket
import time

import pytest

from tests.server import Server, until

JSON = {"Content-Type": "application/json"}
FIELDS = {
    "output", "error", "execution_time", "success", "stdout", "stderr", "exit_code", "signal", "reason", "cpu_time",
    "wall_time", "compile_time", "memory_bytes", "truncated", "cached", "language", "version", "request_id",
}  # fmt: skip


def test_an_answer_has_every_field_of_the_contract(cellblock: Server) -> None:
    answer = cellblock.execute("python", "print('hello')")
    assert set(answer) == FIELDS
    assert answer["language"] == "python"
    assert answer["version"].startswith("Python 3.")
    assert 0 < answer["cpu_time"] < 1
    assert 0 < answer["memory_bytes"] < 64 << 20
    assert answer["execution_time"] == answer["wall_time"]
    assert answer["truncated"] is answer["cached"] is False


def test_the_index_lists_languages_and_endpoints(cellblock: Server) -> None:
    index = cellblock.request("GET", "/").json
    assert index["supported_languages"] == ["python", "rust", "typescript"]
    assert {"message", "version", "endpoints"} <= set(index)


def test_languages_tell_their_versions_and_limits(cellblock: Server) -> None:
    known = {language["id"]: language for language in cellblock.request("GET", "/languages").json["languages"]}
    assert known["rust"]["start_charged"] is True and known["python"]["start_charged"] is False
    assert known["rust"]["compiles"] is True and known["python"]["compiles"] is False
    assert known["python"]["extensions"] == ["py", "py3"]
    assert known["python"]["default_limits"]["memory_mb"] == 128
    assert all(language["version"] for language in known.values())


@pytest.mark.parametrize(
    ("fields", "status", "code", "detail"),
    [
        ({"language": "cobol"}, 400, "unsupported_language", "Unsupported language: cobol. Supported: python, rust, typescript"),
        ({"code": "x" * 65537}, 413, "code_too_long", "Code too long (max 65536 bytes)"),
        ({"code": "é" * 32769}, 413, "code_too_long", "Code too long (max 65536 bytes)"),
        ({"timeout": 0}, 400, "invalid_request", "timeout: must be above 0 and at most 60 seconds"),
        ({"args": [0] * 100_000}, 400, "invalid_request", "items"),
        ({"timeout": -1}, 400, "invalid_request", "timeout"),
        ({"timeout": 61}, 400, "invalid_request", "at most 60"),
        ({"timeout": True}, 400, "invalid_request", "timeout"),
        ({"timeout": "10"}, 400, "invalid_request", "timeout"),
        ({"memory_limit_mb": 0}, 400, "invalid_request", "from 1 to 1024"),
        ({"memory_limit_mb": 1025}, 400, "invalid_request", "from 1 to 1024"),
        ({"memory_limit_mb": 1.5}, 400, "invalid_request", "memory_limit_mb"),
        ({"cpu_time_limit": 0}, 400, "invalid_request", "cpu_time_limit"),
        ({"code": 5}, 400, "invalid_request", "code"),
        ({"unknown": 1}, 400, "invalid_request", "unknown"),
        ({"args": ["a\0b"]}, 400, "invalid_request", "args"),
        ({"args": ["x" * 33000]}, 400, "invalid_request", "args"),
        ({"stdin": "\ud800"}, 400, "invalid_request", "stdin"),
        ({"code": "print('\udfff')"}, 400, "invalid_request", "code"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_fields_are_told(cellblock: Server, fields: dict[str, object], status: int, code: str, detail: str) -> None:
    answer = cellblock.post({"language": "python", "code": "print(1)", **fields})
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert set(answer.json) >= {"type", "title", "status", "detail", "code"}
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert detail in answer.json["detail"]


@pytest.mark.parametrize("missing", ["code", "language"])
def test_a_missing_field_is_named(cellblock: Server, missing: str) -> None:
    fields = {"language": "python", "code": "print(1)"}
    del fields[missing]
    answer = cellblock.post(fields)
    assert answer.status == 400
    assert answer.json["errors"] == [{"field": missing, "message": "Field required"}]


@pytest.mark.threat("D8")
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"code": NaN}', b'{"code":"a","code":"b","language":"python"}', b"[" * 100_000, b"\xff\xfe",
     b'{"timeout": ' + b"9" * 5000 + b"}", b'{"timeout": 1e999, "code": "", "language": "python"}'],
    ids=range(10),
)  # fmt: skip
def test_what_is_not_one_plain_json_object_is_refused(cellblock: Server, body: bytes) -> None:
    answer = cellblock.request("POST", "/execute", body, JSON)
    assert answer.status == 400, answer.text
    assert answer.json["detail"]


@pytest.mark.threat("D8")
def test_other_media_types_and_compressed_bodies_are_refused(cellblock: Server) -> None:
    body = json.dumps({"language": "python", "code": "print(1)"}).encode()
    assert cellblock.request("POST", "/execute", body, {"Content-Type": "text/plain"}).status == 415
    assert cellblock.request("POST", "/execute", body, {**JSON, "Content-Encoding": "gzip"}).status == 415


@pytest.mark.threat("U10")
@pytest.mark.parametrize(
    ("codings", "status"),
    [(["identity", "gzip"], 415), (["gzip", "identity"], 415), (["identity, gzip"], 415), (["br", "gzip"], 415),
     (["identity", "Identity"], 200), (["identity , identity"], 200), ([""], 415)],
)  # fmt: skip
def test_every_field_of_content_encoding_counts(cellblock: Server, codings: list[str], status: int) -> None:
    """RFC 9110, 5.3: several fields are one list. aiohttp obeyed the last one, and decompressed a body for it."""
    plain = json.dumps({"language": "python", "code": "print(1)"}).encode()
    body = gzip.compress(plain) if "gzip" in ",".join(codings) else plain
    fields = "".join(f"Content-Encoding: {one}\r\n" for one in codings)
    assert _posted(cellblock, fields, body) == status


def _posted(cellblock: Server, fields: str, body: bytes) -> int:
    """The status of an answer to a request with these header fields besides its own."""
    head = "POST /execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", cellblock.port), timeout=10) as client:
        client.sendall(f"{head}{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return int(client.recv(100).split()[1])


@pytest.mark.threat("D8")
def test_a_body_over_the_limit_is_refused_before_it_is_read(cellblock: Server) -> None:
    with socket.create_connection(("127.0.0.1", cellblock.port), timeout=10) as client:
        client.sendall(
            b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.threat("U10")
@pytest.mark.parametrize("path", ["/", "/execute", "/health", "/metrics", "/openapi.json", "/nowhere"])
def test_a_page_whose_name_was_changed_to_loopback_is_told_nothing(cellblock: Server, path: str) -> None:
    """DNS rebinding: its browser takes this server for the page's own host, which Host names."""
    answer = cellblock.request("GET", path, headers={"Host": f"rebound.example:{cellblock.port}"})
    assert (answer.status, answer.json["code"]) == (421, "wrong_host")
    assert "rebound.example" in answer.json["detail"]


def test_input_over_its_limit_is_refused(cellblock: Server) -> None:
    answer = cellblock.post({"language": "python", "code": "print(1)", "stdin": "x" * ((16 << 20) + 1)})
    assert (answer.status, answer.json["code"]) == (413, "stdin_too_long")


def test_unknown_paths_and_methods_are_problems_too(cellblock: Server) -> None:
    assert cellblock.request("GET", "/nowhere").json["code"] == "not_found"
    answer = cellblock.request("GET", "/execute")
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"])
def test_local_origins_may_ask(cellblock: Server, origin: str) -> None:
    answer = cellblock.request("GET", "/", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost.evil.org", "null"])
def test_other_origins_may_not(cellblock: Server, origin: str) -> None:
    answer = cellblock.request("GET", "/", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_preflight_is_answered_and_errors_carry_the_headers_too(cellblock: Server) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = cellblock.request("OPTIONS", "/execute", headers=headers)
    assert answer.status == 204
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    wrong = cellblock.request("POST", "/execute", b"{", {**JSON, "Origin": "http://localhost:3000"})
    assert (wrong.status, wrong.headers["Access-Control-Allow-Origin"]) == (400, "http://localhost:3000")


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/execute", "POST"), ("/problems/any", "DELETE, GET, HEAD, PUT"), ("/languages", "GET, HEAD"), ("/nothing", "")],
)
def test_a_preflight_names_the_methods_of_its_path(cellblock: Server, path: str, methods: str) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "DELETE"}
    answer = cellblock.request("OPTIONS", path, headers=headers)
    assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, methods)
    elsewhere = cellblock.request("OPTIONS", path, headers={**headers, "Origin": "https://example.org"})
    assert "Access-Control-Allow-Methods" not in elsewhere.headers


@pytest.mark.threat("F3")
def test_arguments_full_of_quotes_arrive(cellblock: Server) -> None:
    argument = '"\\' * 3000
    assert cellblock.execute("python", "import sys; print(sys.argv[1])", args=[argument])["output"] == argument + "\n"
    for too_long in ("x" * 32_768, '"' * 32_000):  # 32 KB together with a NUL after each; 60 KB as JSON
        assert cellblock.post({"language": "python", "code": "0", "args": [too_long]}).status == 400


def test_null_timeout_is_the_default(cellblock: Server) -> None:
    assert cellblock.execute("python", "print(1)", timeout=None)["success"] is True


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('example.org', 80))",
        "import os, socket\nsocket.create_connection(  ('example.org', 80))",
        "import urllib.request as r\nfrom urllib import request\nrequest.urlopen('http://example.org')",
        "import smtplib\nsmtplib . SMTP('example.org')",
    ],
)
def test_a_forbidden_construct_is_refused_with_line_and_reason(cellblock: Server, code: str) -> None:
    answer = cellblock.post({"language": "python", "code": "# first line\n" + code})
    assert (answer.status, answer.json["code"]) == (400, "dangerous_operation")
    assert answer.json["detail"].startswith("Potentially dangerous operation detected: ")
    assert f"(line {2 + code.count(chr(10))})" in answer.json["detail"]


@pytest.mark.parametrize(
    "code",
    ["import socket  # socket.create_connection(('x', 1))", "import socket; print('socket.create_connection((')",
     '"""\nimport socket\nsocket.create_connection(1)\n"""',
     "import subprocess, os, sys\nopen('/tmp/x', 'w').close()", "import os; os.system('clear')", "import socket, ssl",
     "class requests:\n    get = print\nrequests.get(1)", "import http.client; http.client.responses[404]",
     "import urllib.request; urllib.request.urlopen('data:text/plain,hi').read()"],
)  # fmt: skip
def test_words_in_comments_and_strings_and_everyday_code_are_allowed(cellblock: Server, code: str) -> None:
    assert cellblock.post({"language": "python", "code": code}).status == 200


@pytest.mark.slow
def test_report_mode_runs_and_warns() -> None:
    with Server(validation="report", languages=["python"]) as server:
        answer = server.execute("python", "print('ran')\nimport socket\nsocket.create_connection(('x', 1))")
        assert answer["output"] == "ran\n"
        assert answer["warnings"] == [
            {"line": 3, "found": 'socket . create_connection ( ( "*"', "reason": "there is no network in the jail"}
        ]


@pytest.mark.slow
def test_a_full_queue_is_an_answer() -> None:
    """Nothing waits longer than the queue allows, and the answer comes before the body is parsed."""
    with (
        Server(runs_at_once=1, queue=0, languages=["python"]) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        body = json.dumps({"language": "python", "code": "import time; time.sleep(2)"}).encode()
        head = f"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: server.request("GET", "/health").json["queue"]["running"] == 1, 5)
        answer = server.request("POST", "/execute", b"not even JSON", JSON)
        assert (answer.status, answer.json["code"]) == (503, "queue_full")
        assert int(answer.headers["Retry-After"]) >= 1
        assert client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.threat("D7")
def test_a_client_that_hangs_up_ends_its_run(cellblock: Server) -> None:
    body = json.dumps({"language": "python", "code": "while True: pass", "timeout": 60}).encode()
    head = f"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", cellblock.port)) as client:
        client.sendall(head.encode() + body)
        until(lambda: cellblock.request("GET", "/health").json["queue"]["running"] == 1, 5)
    until(lambda: cellblock.request("GET", "/health").json["queue"]["running"] == 0, 1)


@pytest.mark.threat("D7")
def test_clients_that_dawdle_do_not_hold_up_others(cellblock: Server) -> None:
    head = b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    dawdlers = [socket.create_connection(("127.0.0.1", cellblock.port)) for _ in range(500)]
    try:
        for dawdler in dawdlers:
            dawdler.sendall(head)
        started = time.monotonic()
        assert cellblock.execute("python", "print(1)")["output"] == "1\n"
        assert time.monotonic() - started < 1
    finally:
        for dawdler in dawdlers:
            dawdler.close()


def test_health_names_the_sandbox(cellblock: Server) -> None:
    health = cellblock.request("GET", "/health").json
    assert health["status"] == "healthy"
    assert health["problems"] == {}
    assert health["sandbox"]["nsjail"] == "3.6"
    assert health["sandbox"]["cgroup"] in ("v1", "v2")
    assert set(health["sandbox"]["wardens"].values()) == {"ready"}
    assert all(health["toolchains"].values())


@pytest.mark.slow
def test_bodies_in_flight_are_bounded_together(cellblock: Server) -> None:
    """A dozen clients that send all but the end of 24 MB cannot make the daemon hold it all; small requests go through."""
    head = b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 25000000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", cellblock.port), timeout=30)) for _ in range(12)
        ]
        for client in clients:
            client.sendall(head + b" " * 24_999_999)  # whoever is refused is heard to the end and not kept
        refused = 0
        for client in clients:
            client.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                refused += client.recv(20).startswith(b"HTTP/1.1 429")
        assert refused == 4  # eight fit in the three quarters of 256 MiB that one client may have
        assert cellblock.execute("python", "print(1)")["success"] is True
