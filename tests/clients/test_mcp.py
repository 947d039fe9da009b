"""`cellblock mcp` as agents meet it: the SDK's own client, by standard input and by HTTP, against real servers."""

import asyncio
import collections.abc
import contextlib
import http.client
import json
import pathlib
import select
import signal
import socket
import subprocess
from typing import Any

import cellblock_client
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from daemon.mcp_server import gate
from tests.clients.conftest import SECRET, WATCHER
from tests.server import COMMAND, Server, until

ENDLESS = "import time\nwhile True: time.sleep(1)"
MODES = ("auto", "legacy")  # today's protocol, and that of clients before 2026

pytestmark = pytest.mark.slow


def by_stdio(server: Server, *more: str) -> StdioServerParameters:
    return StdioServerParameters(command=COMMAND, args=["mcp", "--url", f"http://127.0.0.1:{server.port}", *more])


@contextlib.contextmanager
def serving(server: Server, *more: str) -> collections.abc.Iterator[int]:
    """The port of an MCP server by HTTP."""
    command = [COMMAND, "mcp", "--url", f"http://127.0.0.1:{server.port}", "--http", "0", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().strip().removesuffix("/mcp").rpartition(":")[2])
        finally:
            process.terminate()
            assert process.wait(20) in (0, -15)


@pytest.fixture(scope="module")
def port(cellblock: Server) -> collections.abc.Iterator[int]:
    with serving(cellblock) as found:
        yield found


@pytest.fixture(scope="module")
def strict_port(strict: Server) -> collections.abc.Iterator[int]:
    with serving(strict, "--allowed-host", "judge.example.org") as found:
        yield found


@contextlib.asynccontextmanager
async def by_http(port: int, token: str, mode: str = "auto") -> collections.abc.AsyncIterator[Client]:
    url = f"http://127.0.0.1:{port}/mcp"
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture(params=["stdio auto", "stdio legacy", "http auto", "http legacy"])
def make(request: pytest.FixtureRequest, cellblock: Server) -> Client:
    """A client of each transport and protocol."""
    transport, mode = request.param.split()
    if transport == "stdio":
        return Client(by_stdio(cellblock), mode=mode)
    return Client(f"http://127.0.0.1:{request.getfixturevalue('port')}/mcp", mode=mode)


def told(result: Any) -> dict[str, Any]:
    """The structured answer, which its text repeats."""
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content
    return dict(result.structured_content)


async def test_the_tools_have_the_limits_of_the_deployment(make: Client) -> None:
    async with make as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == {"run_code", "grade", "languages"}
    run = tools["run_code"].input_schema["properties"]
    assert {"python", "rust", "typescript"} <= set(run["language"]["enum"])
    assert "the default of 128 MB" in run["memory_limit_mb"]["description"]
    assert (run["timeout"]["maximum"], run["memory_limit_mb"]["maximum"]) == (60, 1024)
    text = json.dumps([tool.model_dump() for tool in tools.values()])
    assert "binary" not in run and "#/components" not in text and "`GET /" not in text


async def test_a_program_is_run_and_a_submission_graded(make: Client) -> None:
    async with make as client:
        code = "import sys\nprint(input()[::-1])\nsys.exit(3)"
        ran = told(await client.call_tool("run_code", {"language": "python", "code": code, "stdin": "abc"}))
        tests = [{"input": "1", "expected": "1"}, {"input": "2", "expected": "3"}]
        graded = told(await client.call_tool("grade", {"language": "python", "code": "print(input())", "tests": tests}))
        languages = told(await client.call_tool("languages", {}))
    assert (ran["stdout"], ran["exit_code"], ran["error"], ran["success"]) == ("cba\n", 3, "Exited with code 3", False)
    assert [test["verdict"] for test in graded["tests"]] == ["AC", "WA"]
    assert [one["id"] for one in languages["languages"]] == ["python", "rust", "typescript"]


async def test_a_call_that_is_cancelled_ends_the_program(
    make: Client, cellblock: Server, request: pytest.FixtureRequest
) -> None:
    """By HTTP before 2026 a client says so in a request of its own, which without sessions is nobody's: its program goes
    on until it hangs up."""
    hears = "http legacy" not in request.node.name

    def running() -> bool:
        return bool(cellblock.request("GET", "/health").json["queue"]["running"])

    async with make as client:
        arguments = {"language": "python", "code": ENDLESS, "timeout": 60}
        calling = asyncio.create_task(client.call_tool("run_code", arguments))
        await asyncio.to_thread(until, running, 10)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        if hears:
            await asyncio.to_thread(until, lambda: not running(), 5, "the slot is free again")
        found = told(await client.call_tool("run_code", {"language": "python", "code": "print(1)"}))
        assert found["stdout"] == "1\n"
    await asyncio.to_thread(until, lambda: not running(), 5, "whoever has gone keeps no slot")


async def test_much_output_is_cut_for_the_model(port: int) -> None:
    async with Client(f"http://127.0.0.1:{port}/mcp") as client:
        code = "print('a' * 50_000 + 'z')"
        found = told(await client.call_tool("run_code", {"language": "python", "code": code}))
        flood = told(await client.call_tool("run_code", {"language": "python", "code": "while True: print('b' * 999)"}))
    assert found["stdout"].startswith("aaa") and found["stdout"].endswith("az\n")
    assert "\n[30002 characters are left out here]\n" in found["stdout"] and len(found["stdout"]) < 20_100
    assert (flood["reason"], flood["truncated"]) == ("output_limit", True) and len(flood["stdout"]) < 20_100


async def test_what_is_refused_is_read_by_the_model(port: int) -> None:
    async with Client(f"http://127.0.0.1:{port}/mcp") as client:
        for arguments, said in (
            ({"language": "cobol", "code": ""}, "unsupported_language: Unsupported language: cobol."),
            ({"language": "python"}, "invalid_request: code: "),
            (
                {"language": "python", "code": "", "timeout": 61},
                "invalid_request: timeout: must be above 0 and at most",
            ),
        ):
            result = await client.call_tool("run_code", arguments)
            assert result.is_error and result.content[0].text.startswith(said)


def test_ctrl_c_ends_it_though_its_standard_input_is_open(cellblock: Server) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [COMMAND, *by_stdio(cellblock).args]
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


async def test_a_server_that_cannot_be_asked_is_told_to_the_model() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with Client(StdioServerParameters(command=COMMAND, args=["mcp", "--url", url])) as client:
            result = await client.call_tool("languages", {})
    assert result.is_error and result.content[0].text.startswith("The cellblock server does not answer: ")


async def test_a_busy_server_is_told_with_its_wait(strict: Server, strict_port: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    with _held(strict):
        async with Client(by_stdio(strict, "--token-file", str(tmp_path / "token"))) as client:
            result = await client.call_tool("run_code", {"language": "python", "code": ""})
            assert result.is_error and result.content[0].text.endswith("; try again in 1 s")
        async with by_http(strict_port, SECRET) as client:
            assert (await client.call_tool("run_code", {"language": "python", "code": ""})).is_error
    async with by_http(strict_port, SECRET) as client:
        assert told(await client.call_tool("run_code", {"language": "python", "code": "print(1)"}))["stdout"] == "1\n"


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_is_for_what_its_scopes_say(strict_port: int, mode: str) -> None:
    async with by_http(strict_port, WATCHER, mode) as client:
        result = await client.call_tool("run_code", {"language": "python", "code": ""})
    assert result.is_error and result.content[0].text.startswith("insufficient_scope: ")


@contextlib.contextmanager
def _held(server: Server) -> collections.abc.Iterator[None]:
    """A program of SECRET in the one slot."""
    url = f"http://127.0.0.1:{server.port}"
    code = f"print(1, flush=True)\n{ENDLESS}"
    with cellblock_client.Client(url, token=SECRET) as api, api.run_stream("python", code, timeout=60) as events:
        assert any(isinstance(event, cellblock_client.Output) for event in events)
        yield


CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
USUAL = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Host": "localhost"}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({}, 401, "token_required"),
        ({"Authorization": "Basic x"}, 401, "token_required"),
        ({"Authorization": "Bearer cb_unknown"}, 401, "invalid_token"),
        ({"Authorization": f"Bearer {SECRET}"}, 200, None),
        ({"Authorization": f"Bearer {SECRET}", "Host": "judge.example.org"}, 200, None),
        ({"Authorization": f"Bearer {SECRET}", "Host": "evil.example.org"}, 421, None),
        ({"Authorization": f"Bearer {SECRET}", "Origin": "http://evil.example.org"}, 403, None),
        ({"Authorization": f"Bearer {SECRET}", "Content-Length": str(25 << 20)}, 413, "body_too_large"),
    ],
)
def test_a_request_is_checked_before_anything_is_done(
    strict_port: int, change: dict[str, str], status: int, code: str | None
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", strict_port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/mcp", CALL, USUAL | change)
        answer = connection.getresponse()
        body = answer.read()
    assert (answer.status, json.loads(body)["code"] if code else None) == (status, code)
    assert (answer.headers["WWW-Authenticate"] is not None) == (status == 401)


def _begun(port: int, token: str, source: str) -> http.client.HTTPConnection:
    """A request whose body does not come: it holds its place until the connection is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    connection.putrequest("POST", "/mcp", skip_host=True)
    for name, value in (USUAL | {"Authorization": f"Bearer {token}", "Content-Length": "10"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def test_without_tokens_one_peer_has_one_share_whatever_it_calls_itself(cellblock: Server) -> None:
    """Neither by a made-up token nor by another of the addresses that a host has for itself."""
    with serving(cellblock) as port, contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(contextlib.closing(_begun(port, f"cb_{number}", f"127.0.0.{2 + number}")))
            for number in range(gate.REQUESTS_OF_ONE_MAX + 1)
        ]
        ready, _, _ = select.select([connection.sock for connection in held], [], [], 20)
        (refused,) = (connection for connection in held if connection.sock in ready)
        answer = refused.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (429, "over_share")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/mcp", 405), ("DELETE", "/mcp", 405), ("POST", "/", 404)]
)
def test_there_are_no_sessions_and_no_streams_to_hold(port: int, method: str, path: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Accept": "text/event-stream", "Host": "localhost"})
        assert connection.getresponse().status == status


def test_without_tokens_it_serves_no_other_host(cellblock: Server) -> None:
    command = [
        COMMAND,
        "mcp",
        "--url",
        f"http://127.0.0.1:{cellblock.port}",
        "--http",
        "0",
        "--allowed-host",
        "a.example",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125, "")
    assert "wants no token, so a.example would be open to everybody" in done.stderr
