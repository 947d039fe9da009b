"""POST /execute as an event stream."""

import collections.abc
import http.client
import json
import time
from typing import Any

import pytest

from tests import posture
from tests.server import START_S, Server, until

Event = tuple[str, Any, float]  # name, data, when it came (time.time)


@pytest.fixture(autouse=True)
def _leaves_nothing(leaves_nothing: None) -> None:
    return leaves_nothing


def events(server: Server, **fields: Any) -> collections.abc.Iterator[Event]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "Origin": "http://localhost:3000"}
        connection.request("POST", "/execute", json.dumps(fields), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        name = ""
        while line := response.readline():
            key, _, value = line.decode().rstrip("\r\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                yield name, json.loads(value), time.time()
    finally:
        connection.close()


@pytest.mark.vm
def test_stages_output_and_result_in_order(cellblock: Server) -> None:
    code = f"console.log('out'); console.error('err'); // {time.time_ns()}"
    seen = list(events(cellblock, language="typescript", code=code))
    assert [name for name, _, _ in seen if name == "stage"] == ["stage", "stage"]
    assert [data["stage"] for name, data, _ in seen if name == "stage"] == ["compile", "run"]
    assert "".join(data["text"] for name, data, _ in seen if name == "stdout") == "out\n"
    assert "".join(data["text"] for name, data, _ in seen if name == "stderr") == "err\n"
    name, result, _ = seen[-1]
    assert (name, result["stdout"], result["success"]) == ("result", "out\n", True)


def test_output_comes_while_the_program_runs(cellblock: Server) -> None:
    code = "import time\nfor _ in range(20):\n    print(time.time(), flush=True)\n    time.sleep(0.02)"
    *seen, (name, _, _) = events(cellblock, language="python", code=code)
    written = [float(data["text"]) for kind, data, _ in seen if kind == "stdout"]
    came = [at for kind, _, at in seen if kind == "stdout"]
    assert (name, len(written)) == ("result", 20)
    assert came[0] < written[-1], "the first line was read before the last one was written"


def test_a_character_that_is_cut_in_two_comes_whole(cellblock: Server) -> None:
    code = "import os, time\ndata = '€'.encode()\nos.write(1, data[:1]); time.sleep(0.1); os.write(1, data[1:]); os.write(1, b'\\xe2')"
    seen = list(events(cellblock, language="python", code=code))
    assert "".join(data["text"] for name, data, _ in seen if name == "stdout") == "€\ufffd"


def test_what_is_wrong_with_a_request_is_told_before_any_stream(cellblock: Server) -> None:
    headers = {"Accept": "text/event-stream"}
    assert cellblock.post({"language": "cobol", "code": ""}, **headers).status == 400


def test_a_reader_that_hangs_up_ends_the_run(cellblock: Server) -> None:
    stream = events(
        cellblock, language="python", code="import time\nprint('x', flush=True)\ntime.sleep(60)", timeout=60
    )
    for name, _, _ in stream:
        if name == "stdout":
            break
    stream.close()  # type: ignore[attr-defined]
    until(lambda: posture.is_at_rest(cellblock), START_S, "the run is over")


def test_a_limit_is_told_in_the_result(cellblock: Server) -> None:
    *_, (name, result, _) = events(cellblock, language="python", code="while True: print('x' * 1000)")
    assert (name, result["reason"], len(result["stdout"])) == ("result", "output_limit", 1 << 20)
