"""The Python client against real servers: results, streams, refusals, retries."""

import asyncio
import collections.abc
import contextlib
import functools
import http.server
import socket
import threading

import pytest
from cellblock_client import (
    AccessDenied,
    ApiError,
    AsyncClient,
    Busy,
    Client,
    ConnectionFailed,
    GradeResult,
    InvalidRequest,
    NoAnswer,
    Output,
    Retries,
    RunResult,
    Stage,
    Test,
    TestResult,
)

from tests.clients.conftest import SECRET, WATCHER
from tests.server import Server
from tests.small_packages import LEGACY, zip_bytes

ENDLESS = "print('begun', flush=True)\nwhile True: pass"
SUM = "print(sum(map(int, input().split())))"
NEVER = Retries(attempts=1)


@pytest.fixture
def client(cellblock: Server, leaves_nothing: None) -> collections.abc.Iterator[Client]:
    with Client(f"http://127.0.0.1:{cellblock.port}") as found:
        yield found


def test_a_run_is_told_as_it_was(client: Client) -> None:
    found = client.run("python", "import sys\nprint(input()[::-1], sys.argv[1:])\nsys.exit(3)", stdin="abc", args=["x"])
    assert (found.stdout, found.exit_code, found.reason, found.success) == ("cba ['x']\n", 3, "exited", False)
    assert found.error == "Exited with code 3"
    assert found.wall_time > 0 and found.memory_bytes and found.language == "python"


def test_a_limit_is_a_result_and_no_error(client: Client) -> None:
    found = client.run("python", "while True: pass", timeout=0.2)
    assert (found.reason, found.error) == ("time_limit", "Execution timed out after 0.2 seconds")


def test_bytes_are_exact_where_they_are_asked_for(client: Client) -> None:
    code = "import sys\nsys.stdout.buffer.write(open('data', 'rb').read())"
    files = {"data": bytes(range(256)), "more/text.txt": "é"}
    assert client.run("python", code, files=files, binary=True).stdout_bytes == bytes(range(256))
    assert "\ufffd" in client.run("python", code, files=files).stdout


def test_a_stream_tells_what_happens_and_the_result_last(client: Client) -> None:
    code = "import sys\nprint('é\u2028x\x85')\nsys.stdout.flush()\nprint('no', file=sys.stderr)"
    with client.run_stream("python", code) as events:
        told = list(events)
    texts = {name: "".join(one.text for one in told if isinstance(one, Output) and one.stream == name)
             for name in ("stdout", "stderr")}  # fmt: skip
    assert told[0] == Stage("run")
    assert texts == {"stdout": "é\u2028x\x85\n", "stderr": "no\n"}
    assert isinstance(told[-1], RunResult) and told[-1].stdout == texts["stdout"]


def test_whoever_leaves_a_stream_ends_the_program(client: Client) -> None:
    """That no jail is left is the posture's to say."""
    with client.run_stream("python", ENDLESS, timeout=60) as events:
        assert Output("stdout", "begun\n") in [next(events), next(events)]


def test_a_stream_that_is_refused_has_no_events(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="Unsupported language: cobol"), client.run_stream("cobol", ""):
        pytest.fail("it began")


def test_a_submission_is_graded(client: Client) -> None:
    tests = [Test("1 2", "3"), Test("5 5", "10.01", id="close"), Test("1 1", "3")]
    checker = {"kind": "tokens", "float_tolerance": 0.1}
    found = client.grade("python", SUM, tests, checker=checker, limits={"cpu_time": 1.0})
    assert (found.verdict, found.compile.success) == ("WA", True)
    assert [(one.id, one.verdict) for one in found.tests] == [("1", "AC"), ("close", "AC"), ("3", "WA")]
    with client.grade_stream("python", SUM, tests[:2], checker=checker) as events:
        *results, last = events
    assert all(isinstance(one, TestResult) for one in results) and [one.id for one in results] == ["1", "close"]
    assert isinstance(last, GradeResult) and last.tests == tuple(results)


def test_a_problem_is_stored_graded_by_and_forgotten(client: Client) -> None:
    put = client.put_problem("sum", zip_bytes(LEGACY))
    assert (put.id, put.tests, put.limits.cpu_time_source) == ("sum", 3, "computed")
    assert client.get_problem("sum") == put
    assert "sum" in [one.id for one in client.problems()]
    found = client.grade_problem("sum", "python", SUM)
    assert found.verdict == "AC" and found.problem is not None and found.problem.version == put.version
    with client.grade_problem_stream("sum", "python", SUM) as events:
        assert [type(one) for one in events] == [TestResult] * 3 + [GradeResult]
    client.delete_problem("sum")
    with pytest.raises(InvalidRequest) as refused:
        client.get_problem("sum")
    assert (refused.value.status, refused.value.code) == (404, "no_such_problem")


def test_the_server_tells_of_itself(client: Client) -> None:
    found = {one.id: one for one in client.languages()}
    assert found["python"].extensions[0] == "py" and found["rust"].compiles
    health = client.health()
    assert health.is_healthy and "sandbox" in health.details


def test_a_wrong_request_says_which_field(client: Client) -> None:
    with pytest.raises(InvalidRequest) as refused:
        client.run("python", "", timeout=-1)
    found = refused.value
    assert (found.status, found.code, [one.field for one in found.errors]) == (400, "invalid_request", ["timeout"])
    assert found.request_id and found.retry_after_s is None
    with pytest.raises(ValueError):
        client.run("python", "", timeout=float("inf"))


async def test_the_asynchronous_client_does_the_same(cellblock: Server) -> None:
    async with AsyncClient(f"http://127.0.0.1:{cellblock.port}") as client:
        both = await asyncio.gather(client.run("python", "print(1)"), client.run("python", "print(2)"))
        assert [one.stdout for one in both] == ["1\n", "2\n"]
        async with client.run_stream("python", "print('é')") as events:
            told = [event async for event in events]
        assert Output("stdout", "é\n") in told and isinstance(told[-1], RunResult)
        assert (await client.grade("python", SUM, [Test("1 2", "3")])).verdict == "AC"
        async with client.grade_stream("python", SUM, [Test("1 2", "4")]) as graded:
            assert [one.verdict async for one in graded] == ["WA", "WA"]
        with pytest.raises(InvalidRequest, match="Unsupported language"):
            await client.run("cobol", "")


async def test_a_call_that_is_cancelled_ends_the_program(cellblock: Server, leaves_nothing: None) -> None:
    url = f"http://127.0.0.1:{cellblock.port}"
    async with AsyncClient(url) as client, client.run_stream("python", ENDLESS, timeout=60) as events:
        while not isinstance(await anext(events), Output):
            pass
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


def test_a_token_opens_and_says_for_what(strict: Server, socket_url: str) -> None:
    url = f"http://127.0.0.1:{strict.port}"
    with Client(url, token=SECRET) as allowed, Client(url) as nobody, Client(socket_url, token=WATCHER) as watcher:
        assert allowed.run("python", "print(1)").stdout == "1\n"
        assert watcher.health().details
        codes = [_refusal(functools.partial(one.run, "python", "")) for one in (nobody, watcher)]
    assert [(type(one), one.status, one.code) for one in codes] == [
        (AccessDenied, 401, "token_required"), (AccessDenied, 403, "insufficient_scope"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_refused_run_is_sent_again_when_the_server_says(strict: Server, socket_url: str) -> None:
    """The slot is free again at the moment when the client has decided to wait."""
    with Client(socket_url, token=SECRET) as holder, contextlib.ExitStack() as held:
        events = held.enter_context(holder.run_stream("python", ENDLESS, timeout=60))
        next(events)
        asked: list[int] = []

        def end_of_the_other() -> float:
            held.close()
            asked.append(1)
            return 0.0

        with Client(socket_url, token=SECRET, retries=Retries(chance=end_of_the_other)) as client:
            assert client.run("python", "print(2)").stdout == "2\n"
        assert len(asked) == 1


def test_a_refused_run_is_an_exception_when_no_attempt_is_left(strict: Server, socket_url: str) -> None:
    once = Client(socket_url, token=SECRET, retries=NEVER)
    with once as client, client.run_stream("python", ENDLESS, timeout=60) as events:
        next(events)
        refused = _refusal(functools.partial(client.run, "python", ""))
    assert isinstance(refused, Busy)
    assert (refused.status, refused.retry_after_s) in [(429, 1.0), (503, 1.0)]


@pytest.mark.slow
async def test_the_asynchronous_client_waits_as_well(strict: Server, socket_url: str) -> None:
    async with AsyncClient(socket_url, token=SECRET) as holder, contextlib.AsyncExitStack() as held:
        events = await held.enter_async_context(holder.run_stream("python", ENDLESS, timeout=60))
        await anext(events)
        decided = asyncio.Event()

        def told() -> float:
            decided.set()
            return 0.0

        async with AsyncClient(socket_url, token=SECRET, retries=Retries(chance=told)) as client:
            running = asyncio.create_task(client.run("python", "print(3)"))
            await decided.wait()
            await held.aclose()
            assert (await running).stdout == "3\n"


def _refusal(call: collections.abc.Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as refused:
        call()
    return refused.value


def test_nobody_there_is_a_failed_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with Client(f"http://127.0.0.1:{taken.getsockname()[1]}") as client, pytest.raises(ConnectionFailed):
            client.health()


def test_what_is_neither_a_url_nor_a_socket_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        Client("127.0.0.1:8000")


def test_an_answer_in_time_or_none(strict: Server, socket_url: str) -> None:
    with Client(socket_url, token=SECRET, read_s=0.2) as client, pytest.raises(ConnectionFailed, match="in time"):
        client.run("python", ENDLESS, timeout=60)


class _Other(http.server.BaseHTTPRequestHandler):
    """A server that is no cellblock."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/languages" else 200)
        self.send_header("Location", "http://localhost/")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        pass


def test_what_another_server_says_is_no_answer() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as other:
        serving = threading.Thread(target=other.serve_forever, args=(0.01,))
        serving.start()
        try:
            with Client(f"http://127.0.0.1:{other.server_port}") as client:
                with pytest.raises(NoAnswer, match="no JSON"):
                    client.problems()
                with pytest.raises(NoAnswer, match="elsewhere"):
                    client.languages()
        finally:
            other.shutdown()
            serving.join()


@pytest.mark.slow
def test_a_stream_that_breaks_off_is_a_failed_connection() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(languages=["python"]))
        client = stack.enter_context(Client(f"http://127.0.0.1:{server.port}"))
        events = stack.enter_context(client.run_stream("python", ENDLESS, timeout=60))
        with pytest.raises(ConnectionFailed):
            for event in events:
                if isinstance(event, Output):
                    server.http.kill()
