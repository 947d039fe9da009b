"""An event stream always ends with its own last event, and a defect never writes a second response into it."""

import collections.abc
import json
import re

import pytest
from aiohttp import test_utils, web

from daemon.api import errors, stream
from daemon.api.metrics import Metrics
from daemon.api.observer import Observer


async def body_of(work: stream.Work) -> str:
    """All that a client receives of a stream of `work`, headers excluded."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return await stream.stream(request, work)

    app = web.Application(middlewares=[errors.middleware])
    Observer(Metrics(), None, logs=False).install(app)
    app.router.add_get("/", handler)
    async with test_utils.TestServer(app) as server, test_utils.TestClient(server) as client:
        response = await client.get("/")
        assert response.status == 200
        return (await response.read()).decode()


def events(body: str) -> list[tuple[str, collections.abc.Mapping[str, object]]]:
    return [(name, json.loads(data)) for name, data in re.findall(r"event: (\w+)\r\ndata: (.*)\r\n", body)]


async def test_a_defect_ends_the_stream_with_a_problem_that_the_log_knows(capfd: pytest.CaptureFixture[str]) -> None:
    async def work(tell: stream.Tell) -> stream.Event:
        stream.Output(tell).hear("stdout", b"before")
        raise ZeroDivisionError("a defect")

    body = await body_of(work)
    assert "HTTP/1.1" not in body
    (name, text), (last, problem) = events(body)
    assert (name, text) == ("stdout", {"text": "before"})
    assert (last, problem["status"], problem["code"]) == ("error", 500, "internal_error")
    incident = re.search(r"[0-9a-f]{32}", str(problem["detail"]))
    assert incident is not None
    logged = "".join(capfd.readouterr())
    assert incident[0] in logged and "ZeroDivisionError" in logged


async def test_a_failure_of_ours_is_the_last_event() -> None:
    async def work(*_: object) -> stream.Event:
        raise errors.ApiProblem(503, "queue_full", "all busy")

    ((name, problem),) = events(await body_of(work))
    assert (name, problem["code"]) == ("error", "queue_full")


async def test_what_cannot_be_sent_ends_the_stream_and_no_second_response_follows() -> None:
    async def work(*_: object) -> stream.Event:
        return "bad\nname", "{}"  # aiohttp_sse refuses it with a ValueError

    assert "HTTP/1.1" not in await body_of(work)
