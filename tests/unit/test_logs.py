"""Log lines are JSON; those of libraries have none of the library's words, and there are only so many in a second."""

import contextvars
import json
import logging
import os

import pytest
import structlog

from daemon import logs, terminal
from daemon.settings import Settings


@pytest.fixture(autouse=True)
def _as_before() -> object:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_so_many_pass_in_a_second_and_the_next_one_tells_of_the_others() -> None:
    seldom = logs.Seldom(2)
    assert [seldom.take(10.0), seldom.take(10.1), seldom.take(10.2), seldom.take(10.9)] == [0, 0, None, None]
    assert [seldom.take(11.0), seldom.take(11.1)] == [2, 0]


def test_a_library_is_told_of_without_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())
    try:
        raise ValueError("password=secret")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request %s", "secret")
    (line,) = lines(capfd)
    assert (line["library"], line["error"], line["level"]) == ("aiohttp.server", "ValueError", "error")
    assert str(line["where"]).startswith("test_logs.py:")
    (frame,) = line["frames"]  # type: ignore[misc]
    assert frame.startswith("test_logs.py:") and frame.endswith(" test_a_library_is_told_of_without_its_words")
    assert "secret" not in json.dumps(line)


def test_a_library_that_floods_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())
    for _ in range(1000):
        logging.getLogger("asyncio").error("socket.send() raised exception")
    assert len(lines(capfd)) <= 3 * logs.LIBRARY_LINES_MAX  # it takes less than two seconds


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    logs.configure(Settings())
    kept = os.dup(2)
    with open("/dev/full", "w") as full:
        os.dup2(full.fileno(), 2)
    try:
        structlog.get_logger("x").error("nobody can read this")
        logging.getLogger("asyncio").error("nor this")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_what_is_bound_to_a_request_is_in_its_lines(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings())
    context = contextvars.copy_context()
    context.run(logs.IDS.set, {"request_id": "r-1"})
    context.run(structlog.get_logger("x").warning, "one\nline", text="\x1b[31m%s")
    (line,) = lines(capfd)
    assert (line["event"], line["text"], line["request_id"]) == ("one\nline", "\x1b[31m%s", "r-1")


def test_a_defect_that_ends_a_service_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, terminal.service_errors():
        raise KeyError("two\nlines")
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (end.value.code, line["level"], line["event"]) == (terminal.EXIT_OURS, "critical", "defect: KeyError")
    assert "Traceback" in line["exception"]
