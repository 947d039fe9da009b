"""What HTTP itself asks for, beyond the document: methods, HEAD, Accept, media types, and errors of a bounded size."""

import contextlib
import http.client
import json
import time

import pytest

from tests.server import Server

JSON = {"Content-Type": "application/json"}
HELLO = json.dumps({"language": "python", "code": "print(1)"}).encode()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/execute", "POST"), ("DELETE", "/grade", "POST"), ("POST", "/problems/sum", "DELETE,GET,HEAD,PUT"),
     ("PATCH", "/", "GET,HEAD"), ("TRACE", "/docs", "GET,HEAD")],
)  # fmt: skip
def test_another_method_is_refused_with_those_that_there_are(
    cellblock: Server, method: str, path: str, allowed: str
) -> None:
    answer = cellblock.request(method, path)
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/languages", "/health", "/problems", "/docs", "/openapi.json", "/nowhere"])
def test_head_has_the_headers_of_get_and_no_body(cellblock: Server, path: str) -> None:
    head, get = cellblock.request("HEAD", path), cellblock.request("GET", path)
    assert (head.status, head.text) == (get.status, "")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize(
    "accept",
    [
        "application/xml",
        "text/event-stream;q=0, application/json",
        "text/event-stream; Q=0.000",
        "x" * 4000,
        ";;,,=",
        "",
    ],
    ids=lambda accept: accept[:40],
)
def test_whoever_does_not_ask_for_events_gets_json(cellblock: Server, accept: str) -> None:
    answer = cellblock.request("POST", "/execute", HELLO, {**JSON, "Accept": accept})
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, "application/json")


@pytest.mark.parametrize(
    "accept", ["text/event-stream", "application/json, TEXT/Event-Stream;q=0.5", "text/event-stream;q=1"]
)
def test_whoever_asks_for_events_gets_them(cellblock: Server, accept: str) -> None:
    answer = cellblock.request("POST", "/execute", HELLO, {**JSON, "Accept": accept})
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")


@pytest.mark.parametrize("kind", ["", "text/json", "application/json-patch+json", "application/x-www-form-urlencoded"])
def test_another_media_type_is_told(cellblock: Server, kind: str) -> None:
    answer = cellblock.request("POST", "/grade", HELLO, {"Content-Type": kind})
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("number", "status"), [("64.0", 200), ("6.4e1", 200), ("64.5", 400), ("true", 400), ('"64"', 400), ("1e400", 400)]
)
def test_a_whole_number_is_an_integer_however_it_is_written(cellblock: Server, number: str, status: int) -> None:
    body = '{"language": "python", "code": "print(1)", "memory_limit_mb": ' + number + "}"
    answer = cellblock.request("POST", "/execute", body.encode(), JSON)
    assert answer.status == status, answer.text


@pytest.mark.parametrize(
    "body",
    [json.dumps({"x" * 1_000_000: 1}), '{"%s": 1, "%s": 2}' % (("é" * 500_000,) * 2), json.dumps({"language": "x" * 1_000_000}),
     json.dumps({"language": "python", "code": "", "checker": {"kind": "x" * 1_000_000}, "tests": [{}]}),
     json.dumps({f"{number}" * 10_000: 1 for number in range(60)})],
    ids=["a key", "a key twice", "a language", "a kind", "many keys"],
)  # fmt: skip
def test_an_error_does_not_send_a_request_back(cellblock: Server, body: str) -> None:
    """What it quotes is cut: an answer of 20 KB at most to a megabyte."""
    answer = cellblock.request("POST", "/grade", body.encode(), JSON)
    assert answer.status == 400
    assert len(answer.text) < 20_000


def test_an_expectation_that_nobody_can_meet_is_told(cellblock: Server) -> None:
    """RFC 9110, section 10.1.1. aiohttp answers it before any code of ours, and the answer has an id all the same."""
    answer = cellblock.request("POST", "/execute", HELLO, {**JSON, "Expect": "miracles"})
    assert (answer.status, answer.json["code"]) == (417, "http_error")
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["X-Request-Id"]


def test_metrics_are_told_to_whoever_asks_oddly(cellblock: Server) -> None:
    answer = cellblock.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=abc"})
    assert answer.status == 200
    assert "cellblock_ready 1" in answer.text


def test_a_body_that_was_refused_is_read_to_its_end_but_slowly(cellblock: Server) -> None:
    """What the kernel takes meanwhile is at most 12 MB here, and 16 MB are read in a second."""
    connection = http.client.HTTPConnection("127.0.0.1", cellblock.port, timeout=30, source_address=("127.0.0.9", 0))
    with contextlib.closing(connection):
        began_s = time.monotonic()
        connection.request("POST", "/execute", bytes(40 << 20), JSON)
        answer = connection.getresponse()
        took_s = time.monotonic() - began_s
        assert (answer.status, json.load(answer)["code"]) == (413, "body_too_large")
        assert took_s > 1.5
        connection.request("POST", "/execute", HELLO, JSON)
        assert json.load(connection.getresponse())["output"] == "1\n"
