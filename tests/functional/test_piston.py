"""Clients of Piston are answered as by Piston: over HTTP, and over a WebSocket that talks to the program."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import aiohttp
import pytest

from tests.server import Answer, Server

JSON = {"Content-Type": "application/json"}
Said = dict[str, Any]
GOES_ON = "import time\nprint('ready', flush=True)\ntime.sleep(60)"


@pytest.fixture(scope="module")
def piston() -> Iterator[Server]:
    with Server(languages=["python"], dialects=["piston"], stdin_bytes_max=1 << 20, runs_at_once=2) as running:
        yield running


def execute(server: Server, code: str, path: str = "/api/v2/execute", **fields: Any) -> Answer:
    body = {"language": "python", "version": "3.x", "files": [{"content": code}], **fields}
    return server.request("POST", path, json.dumps(body).encode(), JSON)


def test_a_program_is_run_and_its_output_told_in_its_order(piston: Server) -> None:
    code = "import os, sys\nfor number in range(4): os.write(1 + number % 2, b'%d' % number)\nsys.exit(len(input()))"
    answer = execute(piston, code, stdin="four", args=["a"]).json
    run = answer.pop("run")
    assert answer.pop("version").startswith("3.") and answer == {"language": "python"}
    assert (run["stdout"], run["stderr"], sorted(run["output"])) == ("02", "13", ["0", "1", "2", "3"])
    assert (run["code"], run["signal"], run["status"], run["message"]) == (4, None, "RE", "Exited with error status 4")
    assert all(isinstance(run[name], int) for name in ("memory", "cpu_time", "wall_time"))


def test_the_public_instances_paths_are_known_too(piston: Server) -> None:
    (runtime,) = piston.request("GET", "/api/v2/piston/runtimes").json
    assert (runtime["language"], runtime["aliases"]) == ("python", ["py", "python3", "py3"])
    path = "/api/v2/piston/execute"
    assert execute(piston, "print(1)", path, version=runtime["version"]).json["run"]["output"] == "1\n"


def test_limits_end_a_program_as_the_original_says_it(piston: Server) -> None:
    run = execute(piston, "import time; time.sleep(9)", run_timeout=100).json["run"]
    assert (run["code"], run["signal"], run["status"]) == (None, "SIGKILL", "TO")
    run = execute(piston, "", run_memory_limit=64 << 10).json["run"]
    assert (run["signal"], run["message"]) == ("SIGKILL", "Memory limit of 64 KB exceeded")
    run = execute(piston, "print('x' * (2 << 20))").json["run"]
    assert (run["status"], run["message"], len(run["stdout"])) == ("OL", "stdout length exceeded", 1 << 20)


def test_errors_are_one_message(piston: Server) -> None:
    answer = execute(piston, "", version="2.x")
    assert (answer.status, answer.json) == (400, {"message": "python-2.x runtime is unknown"})
    answer = piston.request("POST", "/api/v2/execute", b"{", JSON)
    assert answer.status == 400 and list(answer.json) == ["message"]
    assert piston.request("POST", "/api/v2/execute", b"{}", {}).status == 415
    answer = piston.request("POST", "/api/v2/packages", b"{}", JSON)
    assert (answer.status, answer.headers["Allow"], list(answer.json)) == (405, "GET", ["message"])
    assert [one["installed"] for one in piston.request("GET", "/api/v2/packages").json] == [True]


def test_a_server_that_was_not_told_to_speak_it_does_not(cellblock: Server) -> None:
    assert cellblock.request("GET", "/api/v2/runtimes").status == 404


class Line:
    """One WebSocket. Messages are read up to one that a test waits for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def say(self, **message: Any) -> None:
        await self._socket.send_json(message)

    async def init(self, code: str, **fields: Any) -> None:
        await self.say(type="init", language="python", version="*", files=[{"content": code}], **fields)

    async def until(self, is_it: Callable[[Said], bool]) -> Said:
        while not is_it(said := await self._socket.receive_json()):
            pass
        return said

    async def rest(self) -> tuple[Sequence[Said], int | None]:
        """What comes until the end, and its code."""
        found = [json.loads(message.data) async for message in self._socket]
        return found, self._socket.close_code


def is_output(said: Said) -> bool:
    return bool(said["type"] == "data")


@pytest.fixture
async def line(piston: Server) -> AsyncIterator[Line]:
    url = f"ws://localhost:{piston.port}/api/v2/connect"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Line(socket)


async def test_a_program_is_talked_to_while_it_runs(line: Line) -> None:
    await line.init("print(input('name? '), flush=True)\nprint(input())", stdin="is discarded")
    assert (await line.until(lambda _: True))["type"] == "runtime"
    assert await line.until(lambda _: True) == {"type": "stage", "stage": "run"}
    assert (await line.until(is_output))["data"] == "name? "
    await line.say(type="data", stream="stdin", data="Ada\n")
    assert await line.until(is_output) == {"type": "data", "stream": "stdout", "data": "Ada\n"}
    await line.say(type="data", stream="stdin", data="bye\n")
    last = {"type": "exit", "stage": "run", "code": 0, "signal": None}
    assert await line.rest() == ([{"type": "data", "stream": "stdout", "data": "bye\n"}, last], 4999)


@pytest.mark.parametrize(("name", "code", "signal"), [("SIGTERM", None, "SIGTERM"), ("SIGUSR1", 7, None)])
async def test_a_signal_reaches_the_program_alone(line: Line, name: str, code: int | None, signal: str | None) -> None:
    handler = "import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))\n"
    await line.init(handler + GOES_ON)
    await line.until(is_output)
    await line.say(type="signal", signal=name)
    assert await line.rest() == ([{"type": "exit", "stage": "run", "code": code, "signal": signal}], 4999)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"type": "init", "language": "python", "version": "*", "files": [{"content": ""}]}, 4000),
        ({"type": "data", "stream": "stdin", "data": "x" * (1 << 20)}, 1009),  # more than a message may have
        ({"type": "data", "stream": "stdin", "data": 1}, 4002),
        ({"type": "data", "stream": "stdout", "data": ""}, 4004),
        ({"type": "signal", "signal": "SIGNONE"}, 4005),
    ],
)
async def test_what_may_not_be_said_ends_the_connection_and_the_program(line: Line, said: Said, code: int) -> None:
    await line.init(GOES_ON)
    await line.until(is_output)
    await line.say(**said)
    assert (await line.rest())[1] == code


@pytest.mark.slow
@pytest.mark.threat("U14")
async def test_input_is_bounded_as_that_of_any_run(line: Line) -> None:
    """The program reads none of it."""
    await line.init(GOES_ON)
    for _ in range(3):
        await line.say(type="data", stream="stdin", data="x" * (400 << 10))
    said, code = await line.rest()
    assert (said[-1], code) == ({"type": "error", "message": "Input too long (max 1048576 bytes)"}, 4002)


@pytest.mark.slow
async def test_before_a_job_there_is_nothing_to_talk_to(line: Line) -> None:
    await line.say(type="signal", signal="SIGINT")
    assert await line.rest() == ([], 4003)


@pytest.mark.slow
async def test_who_does_not_say_what_he_wants_has_a_second(line: Line) -> None:
    assert await line.rest() == ([], 4001)


@pytest.mark.threat("U13")
async def test_a_page_of_somebody_else_cannot_connect(piston: Server) -> None:
    """Browsers let any page open a WebSocket to this host."""
    url = f"ws://localhost:{piston.port}/api/v2/connect"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, origin="https://example.org")
    assert refused.value.status == 403


@pytest.mark.slow
async def test_a_client_that_hangs_up_leaves_no_program(piston: Server) -> None:
    """This server has two slots: programs that went on would keep the next from its turn."""
    url = f"ws://localhost:{piston.port}/api/v2/connect"
    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            async with session.ws_connect(url) as socket:
                await Line(socket).init(GOES_ON)
                await Line(socket).until(is_output)
    assert (await asyncio.to_thread(execute, piston, "print(1)")).json["run"]["code"] == 0


@pytest.mark.slow
@pytest.mark.threat("U15")
async def test_a_program_that_is_stopped_meets_its_wall_limit(line: Line) -> None:
    await line.init(GOES_ON, run_timeout=1000)
    await line.until(is_output)
    await line.say(type="signal", signal="SIGSTOP")
    assert await line.rest() == ([{"type": "exit", "stage": "run", "code": None, "signal": "SIGKILL"}], 4999)


@pytest.mark.slow
@pytest.mark.threat("U14")
async def test_signals_are_bounded(line: Line) -> None:
    await line.init(GOES_ON)
    await line.until(is_output)
    for _ in range(257):
        await line.say(type="signal", signal="SIGCONT")
    said, code = await line.rest()
    assert (said[-1]["message"], code) == ("A connection has at most 256 signals", 4002)


@pytest.mark.slow
@pytest.mark.threat("U15")
async def test_a_compiled_program_is_signalled_and_its_compiler_ended() -> None:
    """Its own process is found among those of its jail: the child that it waits for is not the program."""
    code = """fn main() {
        let mut child = std::process::Command::new("/usr/bin/sleep").arg("60").spawn().unwrap();
        println!("ready");
        child.wait().unwrap();
    }"""
    init = {"type": "init", "language": "rust", "version": "*", "files": [{"content": code}]}
    with Server(languages=["rust"], dialects=["piston"]) as server:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"ws://localhost:{server.port}/api/v2/connect") as socket:
                await socket.send_json(init)
                line = Line(socket)
                await line.until(is_output)
                await line.say(type="signal", signal="SIGTERM")
                last = {"type": "exit", "stage": "run", "code": None, "signal": "SIGTERM"}
                assert await line.rest() == ([last], 4999)
            async with session.ws_connect(f"ws://localhost:{server.port}/api/v2/connect") as socket:
                await socket.send_json({**init, "files": [{"content": "fn main() {} // another"}]})
                line = Line(socket)
                await line.until(lambda said: said["type"] == "stage")
                await line.say(type="signal", signal="SIGWINCH")
                await line.say(type="signal", signal="SIGINT")
                last = {"type": "exit", "stage": "compile", "code": None, "signal": "SIGINT"}
                assert await line.rest() == ([last], 4999)


@pytest.mark.slow
async def test_a_compiled_program_is_signalled_however_early() -> None:
    """What is sent when the stage has just begun meets a jail that copies the program's megabyte first."""
    code = "static T: [u8; 900_000] = [7; 900_000];\nfn main() { loop { std::hint::black_box(T[0]); } }"
    init = {"type": "init", "language": "rust", "version": "*", "files": [{"content": code}]}
    with Server(languages=["rust"], dialects=["piston"]) as server:
        async with aiohttp.ClientSession() as session:
            for _ in range(10):
                async with session.ws_connect(f"ws://localhost:{server.port}/api/v2/connect") as socket:
                    await socket.send_json(init)
                    line = Line(socket)
                    await line.until(lambda said: said == {"type": "stage", "stage": "run"})
                    await line.say(type="signal", signal="SIGTERM")
                    last = {"type": "exit", "stage": "run", "code": None, "signal": "SIGTERM"}
                    assert await line.rest() == ([last], 4999)
