"""A service is asked by one after the other; nobody waits long for it, and it never has somebody's source in the log."""

import asyncio
import contextlib
import json
import os
import pathlib
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import uvloop

from daemon.judge import service
from daemon.judge.artifacts import Artifacts
from daemon.judge.executor import Executor
from daemon.judge.service import Service
from daemon.judge.submission import Reason, Submission
from daemon.judge.versions import Versions
from daemon.sandbox.client import Client
from daemon.sandbox.model import Limits, Outcome, Usage
from daemon.sandbox.order import Finished, Order
from daemon.toolchain import registry

TOOLCHAIN = registry.load([pathlib.Path(__file__).parents[2] / "toolchains"]).find("typescript")
READ_BYTES = 100
SECRET = "const password = 'hunter2'"


@pytest.fixture
def started() -> Service:
    """A service that answers `exchange`, without any process."""
    assert TOOLCHAIN.service is not None
    made = Service(cast(Client, None), TOOLCHAIN, TOOLCHAIN.service, 1.0)
    made._streams = cast(Any, (None, None))
    return made


async def test_the_turn_is_waited_for_a_tenth_of_a_second(started: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    async def exchange(_: object, __: object, request: dict[str, Any]) -> dict[str, Any]:
        await go_on.wait()
        return {"id": request["id"], "code": "", "diagnostics": ""}

    monkeypatch.setattr(service, "_exchange", exchange)
    first = asyncio.create_task(started.ask({}, "a"))
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await started.ask({}, "a") is None
    assert time.monotonic() - began < 0.5
    go_on.set()
    assert await first is not None
    assert await started.ask({}, "a") is not None


async def test_a_caller_that_is_gone_leaves_the_service_in_step(
    started: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["of the first", "of the second"])

    async def exchange(_: object, __: object, request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"id": request["id"], "code": next(answers), "diagnostics": ""}

    monkeypatch.setattr(service, "_exchange", exchange)
    gone = asyncio.create_task(started.ask({}, "a"))
    await asyncio.sleep(0.001)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await started.ask({}, "a") == {"code": "of the second", "diagnostics": ""}


@pytest.mark.threat("U5")
async def test_a_client_that_keeps_others_waiting_is_kept_away_for_a_while(
    started: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what it kept them waiting, many little times or once; whoever keeps nobody waiting is not kept away."""
    now_s, slow_s, given_up = 1000.0, 1.9, ""

    async def exchange(_: object, __: object, request: dict[str, Any]) -> dict[str, Any]:
        nonlocal now_s
        if given_up:
            assert await started.ask({}, given_up) is None
        now_s += slow_s
        return {"id": request["id"], "code": "", "diagnostics": ""}

    monkeypatch.setattr(service, "_exchange", exchange)
    monkeypatch.setattr(service.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(service, "TURN_S", 0.01)
    assert await started.ask({}, "a") is not None
    given_up = "a"
    assert await started.ask({}, "a") is not None
    given_up, slow_s = "b", 0.2
    for _ in range(3):
        assert await started.ask({}, "a") is not None
    given_up = ""
    assert await started.ask({}, "a") is None, "0.6 s of others' time"
    assert await started.ask({}, "b") is not None
    now_s += 0.1 / service.FORGOTTEN
    assert await started.ask({}, "a") is not None
    given_up, slow_s = "b", 1.9
    assert await started.ask({}, "a") is not None
    now_s += 1.8 / service.FORGOTTEN
    assert await started.ask({}, "a") is None
    now_s += 0.2 / service.FORGOTTEN
    assert await started.ask({}, "a") is not None


async def test_an_answer_to_another_request_is_none_and_ends_the_service(
    started: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def exchange(*_: object) -> dict[str, Any]:
        return {"id": 77, "code": "of somebody else", "diagnostics": ""}

    monkeypatch.setattr(service, "_exchange", exchange)
    assert await started.ask({}, "a") is None
    assert not started.ready


async def test_nothing_of_a_source_gets_into_the_log(
    started: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither what the service says on stderr nor a frame that cannot be read, which may hold it."""

    async def exchange(*_: object) -> dict[str, Any]:
        SECRET.encode().join([b"", b"\xff"]).decode()
        return {}

    monkeypatch.setattr(service, "_exchange", exchange)
    started._complain("stderr", SECRET.encode())
    started._complain("stderr", SECRET.encode())
    assert await started.ask({}, "a") is None
    logged = "".join(capfd.readouterr())
    assert "hunter2" not in logged and "password" not in logged
    assert logged.count("spoke on stderr") == 1 and "service replaced" in logged


async def test_the_time_of_an_attempt_that_failed_is_compile_time() -> None:
    class Slow:
        async def ask(self, *_: object) -> None:
            await asyncio.sleep(0.05)

    class Refusing:
        async def run(self, _: Order) -> Finished:
            return Finished(Outcome(256, None, Usage(7_000_000, None, None)), b"wrong", b"", False, {})

    executor = Executor(
        cast(Client, Refusing()), {TOOLCHAIN.id: cast(Service, Slow())}, Artifacts(0, 0, None), Versions({})
    )
    report = await executor.execute(Submission(TOOLCHAIN, b"x", Limits(1 << 27, 10**9, 64), 1 << 20))
    assert report.reason is Reason.COMPILE_ERROR
    assert 55_000_000 <= report.compile_ns < 1_000_000_000  # uvloop counts whole milliseconds


@pytest.mark.parametrize(
    ("said", "artefact"),
    [
        ({"code": "let x"}, b"let x"),
        ({"code": "AAEC/w==", "encoding": "base64"}, b"\0\1\2\xff"),
        ({"code": "no base64", "encoding": "base64"}, None),
        ({"code": "\ud800"}, None),
    ],
)
async def test_what_a_service_has_compiled_is_text_or_base64_and_anything_else_is_no_answer(
    said: dict[str, str], artefact: bytes | None
) -> None:
    class Living:
        async def ask(self, *_: object) -> dict[str, str]:
            return {"diagnostics": "", **said}

    executor = Executor(
        cast(Client, None), {TOOLCHAIN.id: cast(Service, Living())}, Artifacts(0, 0, None), Versions({})
    )
    submission = Submission(TOOLCHAIN, b"x", Limits(1 << 27, 10**9, 64), 1 << 20)
    answer = await executor._ask_service(submission, TOOLCHAIN.steps[0])
    assert (None if answer is None else answer["code"]) == artefact


@pytest.mark.parametrize(
    ("diagnostics", "code", "is_taken"),
    [
        (service.DIAGNOSTICS_MAX, service.CODE_MAX, True),
        (service.DIAGNOSTICS_MAX + 1, 1, False),
        (1, service.CODE_MAX + 1, False),
        (1, service.REPLY_BYTES_MAX, False),
        (30 << 20, 1, False),
    ],
)
def test_an_answer_that_is_too_long_is_none_and_the_service_goes_on(
    started: Service, diagnostics: int, code: int, is_taken: bool
) -> None:
    """Over the pipes, where what is passed over is never in memory as a whole."""
    reading, stdin = os.pipe()
    stdout, writing = os.pipe()

    def answer() -> None:
        with os.fdopen(reading, "rb") as asked, os.fdopen(writing, "wb") as out:
            for said in ({"diagnostics": "d" * diagnostics, "code": "c" * code}, {"diagnostics": "", "code": "next"}):
                (size,) = service.LENGTH.unpack(asked.read(service.LENGTH.size))
                body = json.dumps({"id": json.loads(asked.read(size))["id"], **said}).encode()
                out.write(service.LENGTH.pack(len(body)) + body)
                out.flush()

    async def ask() -> None:
        answering = asyncio.create_task(asyncio.to_thread(answer))
        async with service._streams(stdin, stdout) as streams:
            started._streams = streams
            assert (await started.ask({}, "a") is not None) is is_taken
            assert await started.ask({}, "a") == {"diagnostics": "", "code": "next"}
            assert started.ready
            await answering

    uvloop.run(ask())


def test_the_end_of_a_service_closes_its_pipes_once_and_nobody_elses() -> None:
    """A transport of uvloop closes its number some turns later, when it may be somebody else's already."""

    async def end_and_open_others() -> list[int]:
        reading, stdin = os.pipe()
        stdout, writing = os.pipe()
        async with service._streams(stdin, stdout) as (reader, _):
            os.write(writing, b"x")
            assert await reader.read(READ_BYTES) == b"x"
        others = []
        for _ in range(20):  # more than the loop needs turns to close
            others += [os.open("/dev/null", os.O_RDONLY) for _ in range(2)]
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert os.read(reading, READ_BYTES) == b"", "stdin is closed"
        with pytest.raises(BrokenPipeError):
            os.write(writing, b"x")  # stdout is closed
        return [reading, writing, *others]

    for descriptor in uvloop.run(end_and_open_others()):
        os.close(descriptor)  # raises where it was closed already


TURNS = 10  # of the loop, in which it hears of the end


async def test_a_service_whose_end_was_not_noticed_yet_is_gone_and_no_defect() -> None:
    """Killed between two requests, its pipe is closed by uvloop before anybody reads; the next request was a 500."""
    (stdin_far, stdin), (stdout, stdout_far) = os.pipe(), os.pipe()
    async with service._streams(stdin, stdout) as (reader, writer):
        os.close(stdin_far)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert writer.is_closing()
        with pytest.raises(ConnectionResetError):
            await service._exchange(reader, writer, {"code": ""})
    os.close(stdout_far)


@pytest.mark.parametrize("turns", range(8))
async def test_a_service_that_is_ended_while_it_starts_ends(turns: int) -> None:
    """A pipe that was closed twice turned the cancellation into an OSError, after which it started again: whoever
    waited for its end, such as a server whose start failed, waited for ever."""

    class Keeper:
        async def wait_ready(self, _: str) -> None:
            pass

        @contextlib.asynccontextmanager
        async def opened(self, *_: object) -> AsyncIterator[tuple[int, int]]:
            theirs_in, stdin = os.pipe()
            stdout, theirs_out = os.pipe()
            try:
                yield stdin, stdout
            finally:
                os.close(theirs_in)
                os.close(theirs_out)

    assert TOOLCHAIN.service is not None
    running = asyncio.create_task(Service(cast(Client, Keeper()), TOOLCHAIN, TOOLCHAIN.service, 10.0).run())
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
