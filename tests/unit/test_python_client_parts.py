"""The Python client's pure parts: event streams, retries, decoding. tests/clients asks real servers."""

import itertools

import pytest
from cellblock_client import Client, NoAnswer, Retries, RunResult, errors, requests
from cellblock_client.decoding import decoded, parsed
from cellblock_client.requests import Test
from cellblock_client.results import GradeResult
from cellblock_client.retries import retry_after_s
from cellblock_client.sse import EventParser
from hypothesis import given
from hypothesis import strategies as st

STREAM = (
    "\ufeff: a comment\r\nevent: stdout\r\ndata: {\"text\": \"\u2028é\"}\r\n\r\n"
    "data: one\ndata:two\n\nevent: no data\r\rid: 7\revent:last\rdata\r\rdata: never ends\n"
).encode()  # fmt: skip
EVENTS = [("stdout", '{"text": "\u2028é"}'), ("message", "one\ntwo"), ("last", "")]
RUN = {
    "output": "1\n", "error": None, "execution_time": 0.1, "success": True, "stdout": "1\n", "stderr": "", "exit_code": 0,
    "signal": None, "reason": "exited", "cpu_time": None, "wall_time": 0, "compile_time": 0.0, "memory_bytes": 7,
    "truncated": False, "cached": False, "language": "python", "version": None, "request_id": "x",
}  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM))))
def test_a_stream_is_read_alike_however_it_is_cut(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    parser = EventParser()
    found = [event for start, end in itertools.pairwise(cuts) for event in parser.feed(STREAM[start:end])]
    assert found == EVENTS


@given(st.binary())
def test_any_bytes_are_a_stream(data: bytes) -> None:
    assert all(isinstance(text, str) for event in EventParser().feed(data) for text in event)


@pytest.mark.parametrize(
    ("attempt", "status", "told_s", "wait_s"),
    [
        (1, 503, 1.0, 1.25), (3, 429, 0.0, 0.5), (1, 503, 30.0, 37.5),  # by chance a quarter more
        (4, 503, 1.0, None), (1, 503, None, None), (1, 500, 1.0, None), (1, 200, None, None), (1, 429, 31.0, None),
    ],
)  # fmt: skip
def test_only_a_refusal_that_says_when_is_sent_again(
    attempt: int, status: int, told_s: float | None, wait_s: float | None
) -> None:
    assert Retries(chance=lambda: 0.5).wait_s(attempt, status, told_s) == wait_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0), (None, None), ("soon", None), ("-1", None), ("1.5", None), ("٣", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, lambda: 10.0) == seconds


def test_what_a_newer_server_tells_besides_is_passed_over() -> None:
    found = decoded(RunResult, {**RUN, "news": 1, "warnings": [{"line": 2, "found": "x", "reason": "y", "news": 1}]})
    assert (found.wall_time, found.memory_bytes, found.stdout_bytes) == (0, 7, b"1\n")
    assert found.warnings is not None and found.warnings[0].line == 2


@pytest.mark.parametrize(
    "change", [{"stdout": None}, {"exit_code": "0"}, {"warnings": {}}, {"warnings": [1]}, {"wall_time": "1"}]
)
def test_a_field_of_another_form_is_no_answer(change: dict[str, object]) -> None:
    with pytest.raises(NoAnswer, match="no RunResult"):
        decoded(RunResult, {**RUN, **change})


@pytest.mark.parametrize("answer", [None, [], "x", {}, {name: RUN[name] for name in RUN if name != "reason"}])
def test_a_field_that_is_missing_is_no_answer(answer: object) -> None:
    for kind in (RunResult, GradeResult):
        with pytest.raises(NoAnswer):
            decoded(kind, answer)


def test_a_problem_without_its_fields_is_told_by_its_status() -> None:
    found = errors.of_problem({"errors": [1, {"field": "x"}]}, 502, None, None)
    assert (type(found), found.code, found.detail) == (errors.ApiError, "http_error", "The server answered 502")
    assert errors.problem_of(b"{", "application/problem+json") == errors.problem_of(b"{}", "text/html") == {}


@pytest.mark.parametrize("told", [5, "x", {"a": 1}, None])
def test_a_list_of_wrong_fields_that_is_none_names_no_field(told: object) -> None:
    assert errors.of_problem({"errors": told, "detail": 7}, 400, None, None).errors == ()


def test_json_that_is_nested_too_deep_is_no_answer() -> None:
    deep = b"[" * 100_000
    with pytest.raises(NoAnswer, match="no JSON"):
        parsed(deep)
    assert errors.problem_of(deep, "application/problem+json") == {}


@pytest.mark.parametrize(
    "url", ["http://", "http:///x", "http://[::1", "http://a:b", "https://\u2603.example", "a:1", ""]
)
def test_what_is_no_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError):
        Client(url)


@pytest.mark.parametrize("token", ["", "secret\n", "secret\r\nX: y", " secret", "s\xe9cret", "sec\x00ret"])
def test_a_token_that_no_header_can_hold_is_not_sent_and_not_repeated(token: str) -> None:
    """As one is that was read from a file with the end of its line."""
    with Client("http://127.0.0.1:1", token=token) as client, pytest.raises(ValueError) as refused:
        client.languages()
    assert "one line" in str(refused.value) and "ret" not in str(refused.value)


def test_what_is_not_said_is_not_sent() -> None:
    request = requests.grade("python", "é", [Test("1"), Test(id="b", args=("x",))], {})
    assert request.content == (
        b'{"language": "python", "code": "\\u00e9", "tests": [{"input": "1", "expected": "", "args": []},'
        b' {"id": "b", "input": "", "expected": "", "args": ["x"]}]}'
    )
    assert requests.put_problem("a/b?c", b"").path == "/problems/a%2Fb%3Fc"
