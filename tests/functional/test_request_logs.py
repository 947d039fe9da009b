"""Every request has an id, and one line in the log that tells all but its content."""

import json
import re
import socket
from typing import Any

import pytest

from tests.server import Server, until

SECRET = "s3cret-canary"
JSON = {"Content-Type": "application/json"}


def lines_of(server: Server, request_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in server.error_text().splitlines() if line.startswith("{")]
    return [line for line in found if line.get("request_id") == request_id]


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    """It is written when the answer has been sent, which its client may notice first."""
    until(lambda: lines_of(server, request_id), 5, "the request's line")
    (line,) = lines_of(server, request_id)
    return line


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 128])
def test_a_request_keeps_the_id_that_it_came_with(cellblock: Server, given: str) -> None:
    answer = cellblock.post({"language": "python", "code": "print(1)"}, **{"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"], answer.json["request_id"]) == (given, given)


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é", "{}", "a;b"])
def test_an_id_that_could_mislead_is_replaced(cellblock: Server, given: str) -> None:
    answer = cellblock.request("GET", "/", headers={"X-Request-Id": given.encode().decode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("GET", "/nothing", None, {}),
        ("PATCH", "/execute", b"", {}),
        ("POST", "/execute", b"{", JSON),
        ("POST", "/execute", json.dumps({"language": "python", "code": "print(1)"}).encode(), {**JSON, "Accept": "text/event-stream"}),
        ("OPTIONS", "/execute", None, {"Origin": "http://localhost", "Access-Control-Request-Method": "POST"}),
    ],
    ids=["404", "405", "400", "stream", "preflight"],
)  # fmt: skip
def test_every_answer_has_an_id(
    cellblock: Server, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> None:
    answer = cellblock.request(method, path, body, {**headers, "X-Request-Id": f"any-{method}"})
    assert answer.headers["X-Request-Id"] == f"any-{method}"


def test_its_line_tells_who_asked_for_what_and_how_it_ended(cellblock: Server) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"X-Request-Id": "line-1", "traceparent": f"00-{trace}-{parent}-01"}
    cellblock.post({"language": "py", "code": "raise SystemExit(3)"}, **headers)
    line = line_of(cellblock, "line-1")
    assert 0 < line.pop("ms") < 5000 and line.pop("timestamp").endswith("Z")
    assert line.pop("bytes_in") == 49 and line.pop("bytes_out") > 400
    assert line == {
        "event": "request", "level": "info", "method": "POST", "path": "/execute", "status": 200,
        "client": "address 127.0.0.1", "language": "python", "reason": "exited", "request_id": "line-1", "trace_id": trace, "span_id": parent,
    }  # fmt: skip


def test_its_line_names_the_client_alike_where_aiohttp_itself_has_answered(cellblock: Server) -> None:
    cellblock.request("POST", "/execute", b"{}", {**JSON, "Expect": "miracles", "X-Request-Id": "line-417"})
    line = line_of(cellblock, "line-417")
    assert (line["status"], line["client"]) == (417, "address 127.0.0.1")


def test_a_refused_request_is_told_with_its_cause(cellblock: Server) -> None:
    cellblock.request(
        "PUT", f"/problems/{SECRET}", b"no zip", {"X-Request-Id": "line-2", "Content-Type": "application/zip"}
    )
    line = line_of(cellblock, "line-2")
    assert (line["path"], line["status"], line["code"]) == ("/problems/{id}", 400, "invalid_package")


@pytest.mark.threat("D10")
def test_nothing_of_a_request_stands_in_the_log(cellblock: Server) -> None:
    """Not its source, input, arguments, files or output, no header, no path, no query, however it ends."""
    fields = {
        "language": "python",
        "code": f"print('{SECRET}')",
        "stdin": SECRET,
        "args": [SECRET],
        "files": [{"name": SECRET, "content": SECRET}],
    }
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "User-Agent": SECRET, "Referer": SECRET}
    for more in (
        {},
        {"code": f"import sys; sys.exit('{SECRET}')"},
        {"language": SECRET},
        {SECRET: 1},
        {"timeout": SECRET},
    ):
        cellblock.post({**fields, **more}, **headers)
    cellblock.request("GET", f"/{SECRET}?token={SECRET}", headers=headers)
    cellblock.request("POST", f"/execute?{SECRET}", f'{{"{SECRET}'.encode(), {**JSON, **headers})
    cellblock.request("GET", "/", headers={"X-Request-Id": f"{SECRET} {SECRET}"})
    cellblock.post({"language": "python", "code": ""}, **{"X-Request-Id": "the-last"})
    line_of(cellblock, "the-last")
    assert SECRET not in cellblock.error_text()


def test_a_flood_of_what_is_no_http_is_answered_and_leaves_a_few_lines(cellblock: Server) -> None:
    """Line ends without CR, as in request smuggling. aiohttp alone wrote 58 MB in 3 seconds, with the request in it."""
    request = f"POST /execute HTTP/1.1\nHost: x\nAuthorization: Bearer {SECRET}\n\n{SECRET}".encode()
    before = len(cellblock.error_text())

    def send() -> None:
        with socket.create_connection(("127.0.0.1", cellblock.port), timeout=10) as connection:
            connection.sendall(request)
            head, _, body = b"".join(iter(lambda c=connection: c.recv(65536), b"")).decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.0 400 ") and "X-Request-Id: " in head
        assert "Content-Type: application/problem+json" in head
        assert json.loads(body)["code"] == "bad_http" and SECRET not in body

    def unread() -> list[dict[str, str]]:
        written = cellblock.error_text()[before:]
        assert len(written) < 20_000 and SECRET not in written
        return [line for line in map(json.loads, written.splitlines()) if line["path"] == "unread"]

    for _ in range(300):
        send()
    while not (told := unread()):  # there is one a second, and the last may have been of another test
        send()
    assert told[0]["code"] == "bad_http"
    assert {line["client"] for line in told} == {"address 127.0.0.1"}, "as in every other line"


POST = b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CANARY = SECRET.encode()
UNREADABLE = {
    "no request line": CANARY * 10 + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + CANARY * 20,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + CANARY,
    "another version": b"GET /" + CANARY + b" HTTP/9.9\r\nHost: x\r\n\r\n",
    "a long path": b"GET /" + CANARY * 1000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad URL": b"GET http://[" + CANARY + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long method": CANARY * 1000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare CR": POST.replace(b"\r\n", b"\r") + CANARY + b"\r\r",
    "no Host": b"GET /" + CANARY + b" HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: " + CANARY + b"\r\n\r\n",
    "a header of 39 KB": POST + b"A: " + CANARY * 3000 + b"\r\n\r\n",
    "5000 headers": POST + b"A: " + CANARY + b"\r\n" + b"B: c\r\n" * 5000 + b"\r\n",
    "a header without a colon": POST + CANARY + b"\r\nContent-Length: 0\r\n\r\n",
    "a blank before the colon": POST + b"A : " + CANARY + b"\r\n\r\n",
    "a folded header": POST + b"A: b\r\n " + CANARY + b"\r\nContent-Length: 0\r\n\r\n",
    "NUL": POST + b"A: \x00" + CANARY + b"\r\n\r\n",
    "two framings": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + CANARY,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + CANARY,
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\n" + CANARY,
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\n" + CANARY,
    "a length beyond all": POST + b"Content-Length: 9" + b"9" * 30 + b"\r\n\r\n" + CANARY,
    "another framing": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CANARY,
    "a hidden framing": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + CANARY,
    "no chunk size": CHUNKED + CANARY + b"\r\n",
    "a negative chunk": CHUNKED + b"-5\r\n" + CANARY + b"\r\n0\r\n\r\n",
    "a longer chunk": CHUNKED + b"5\r\n" + CANARY + b"\r\n0\r\n\r\n",
    "chunks with bare LF": CHUNKED + b"5\n" + CANARY + b"\n0\n\n",
    "a bad trailer": CHUNKED + b"0\r\n" + CANARY + b"\r\n\r\n",
}


@pytest.mark.threat("U10")
def test_what_is_no_http_is_a_problem_and_neither_answered_nor_logged_in_its_own_words(cellblock: Server) -> None:
    """RFC 9112, sections 2.2, 5 and 11.2. The connection ends: nobody knows where the next request would begin."""
    before = len(cellblock.error_text())
    for name, sent in UNREADABLE.items():
        with socket.create_connection(("127.0.0.1", cellblock.port), timeout=10) as connection:
            connection.sendall(sent)
            head, _, body = b"".join(iter(lambda c=connection: c.recv(65536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 400 ") and b"Content-Type: application/problem+json" in head, (name, head)
        assert json.loads(body)["code"] == "bad_http", name
        assert CANARY not in head + body, name
    written = cellblock.error_text()[before:]
    assert SECRET not in written and len(written) < 5000
    assert all(json.loads(line) for line in written.splitlines())
