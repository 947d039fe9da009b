"""The WebSocket of Piston: a job whose program is talked to while it runs.

A connection holds room for one message, then what its program has not read; it has INIT_S to say what it wants, and
from then on as long as its job. All that it says is bounded in number and bytes.
"""

import asyncio
import dataclasses
import json
import signal
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from daemon.api import cors, errors, stream, submissions
from daemon.api import note as notes
from daemon.api.admission import Room
from daemon.api.client import CLIENT
from daemon.api.errors import ApiProblem
from daemon.api.parts import Parts
from daemon.api.runs import Runs
from daemon.judge.submission import Reason, Report, Submission
from daemon.sandbox.dialogue import Dialogue

from . import answers, orders
from .models import Job, Message
from .runtimes import Runtime, Runtimes
from .telling import sentence

INIT_S = 1.0
CLOSE_S = 2.0  # for the other side to agree to the end
MESSAGE_BYTES = 1 << 20
MESSAGES_MAX, SIGNALS_MAX = 100_000, 256  # of a connection
HARMLESS = {  # by default they end no process (signal(7))
    signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG,
    signal.SIGWINCH,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Close:
    """How a connection ends."""

    code: int
    reason: str


ALREADY = Close(4000, "Already Initialized")
TOO_LATE = Close(4001, "Initialization Timeout")
NOTIFIED = Close(4002, "Notified Error")
NOT_YET = Close(4003, "Not yet initialized")
NOT_STDIN = Close(4004, "Can only write to stdin")
BAD_SIGNAL = Close(4005, "Invalid signal")
COMPLETED = Close(4999, "Job Completed")
GONE = Close(1000, "")  # the client has closed it


class Connect:
    """Answers GET /connect."""

    def __init__(self, parts: Parts, runs: Runs, runtimes: Runtimes) -> None:
        self._parts, self._runs, self._runtimes = parts, runs, runtimes

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Raises ApiProblem and turns.seats.Refused before it has begun, and nothing afterwards."""
        cors.check_origin(request, self._parts.settings.cors_origins)
        socket = web.WebSocketResponse(timeout=CLOSE_S, compress=False, max_msg_size=MESSAGE_BYTES)
        if not socket.can_prepare(request).ok:
            raise ApiProblem(400, "http_error", "This is for WebSockets (RFC 6455)")
        with self._runs.admitted(request[CLIENT]) as room:
            room.resize(MESSAGE_BYTES)
            await socket.prepare(request)
            close = await Conversation(self._parts, self._runs, self._runtimes, request, socket, room).hold()
            await socket.close(code=close.code, message=close.reason.encode())
        return socket


class Conversation:
    """One connection. `hold` it once."""

    def __init__(
        self, parts: Parts, runs: Runs, runtimes: Runtimes, request: web.Request, socket: web.WebSocketResponse,
        room: Room,
    ) -> None:  # fmt: skip
        self._parts, self._runs, self._runtimes = parts, runs, runtimes
        self._request, self._socket, self._room = request, socket, room
        self._events = stream.Events(request.protocol)
        self._dialogue, self._texts = Dialogue(), answers.Texts()
        self._held_bytes, self._said_bytes, self._signals = MESSAGE_BYTES, 0, 0
        self._stage: str | None = None
        self._running: asyncio.Task[Close] | None = None
        self._compiler_signal: str | None = None  # what the client ended the compiler with

    async def hold(self) -> Close:
        """From the first message to the last; how it is to be closed."""
        try:
            first = await self._first()
            if isinstance(first, Job):
                return await self._converse(first)
            self._events.put(None)
            await self._write()
            return first
        except ConnectionError:  # nobody reads any more
            return GONE

    async def _converse(self, job: Job) -> Close:
        """Until the job is done, or the client says what it may not; all that was told before is sent first."""
        self._running = asyncio.create_task(self._told(self._run(job)))
        tasks = [self._running, asyncio.create_task(self._told(self._listen()))]
        for task in tasks:
            task.add_done_callback(lambda _: self._events.put(None))
        try:
            await self._write()
            return next(task for task in tasks if task.done()).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _told(self, work: Coroutine[Any, Any, Close]) -> Close:
        try:
            return await work
        except Exception as error:  # a defect, too, has no other place to go
            return self._failed(error)

    def _failed(self, error: Exception) -> Close:
        self._tell(type="error", message=sentence(errors.of(error, self._request)))
        return NOTIFIED

    # -- from the client

    async def _hear(self) -> Message | None:
        """None: the other side has closed, or does not speak the protocol. Raises what Bodies.parse raises."""
        await asyncio.sleep(0)  # others have a turn, however fast messages come
        said = await self._socket.receive()
        if said.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return None
        data = said.data.encode() if said.type is WSMsgType.TEXT else said.data
        return await self._parts.bodies.parse(data, Message, self._request[CLIENT])

    async def _first(self) -> Job | Close:
        """What it is to be, within INIT_S."""
        try:
            async with asyncio.timeout(INIT_S):
                return await self._wanted()
        except TimeoutError:
            return TOO_LATE
        except Exception as error:  # the answer to the upgrade has been sent, so it is told here, and in the log
            return self._failed(error)

    async def _wanted(self) -> Job | Close:
        for _ in range(MESSAGES_MAX):
            said = await self._hear()
            if said is None:
                return GONE
            if said.job is not None:
                return said.job
            if said.type in ("data", "signal"):
                return NOT_YET
        return TOO_LATE

    async def _listen(self) -> Close:
        for _ in range(MESSAGES_MAX):
            said = await self._hear()
            if said is None:
                return GONE
            match said.type:
                case "init":
                    return ALREADY
                case "data" if said.stream != "stdin":
                    return NOT_STDIN
                case "data":
                    self._say(said.data)
                case "signal" if not isinstance(said.signal, str) or said.signal not in answers.SIGNALS:
                    return BAD_SIGNAL
                case "signal":
                    self._signal(said.signal)
        raise ApiProblem(400, "invalid_request", f"A connection has at most {MESSAGES_MAX} messages")

    def _say(self, data: bytes) -> None:
        """Raises ApiProblem 413, 429 and 503."""
        self._said_bytes += len(data)
        most = self._parts.settings.stdin_bytes_max
        if self._said_bytes > most:
            raise ApiProblem(413, "stdin_too_long", f"Input too long (max {most} bytes)")
        self._dialogue.say(data)
        self._room.resize(self._held_bytes + self._dialogue.waiting_bytes)

    def _signal(self, name: str) -> None:
        """To the program; one that would end a compiler ends the compiling. Raises ApiProblem 400."""
        self._signals += 1
        if self._signals > SIGNALS_MAX:
            raise ApiProblem(400, "invalid_request", f"A connection has at most {SIGNALS_MAX} signals")
        number = answers.SIGNALS[name]
        if self._stage != "compile":
            self._dialogue.signal(number)
        elif number not in HARMLESS and self._running is not None:
            self._compiler_signal = name
            self._running.cancel()

    # -- to the client

    async def _write(self) -> None:
        """All events, up to the end. Raises ConnectionError."""
        while (event := await self._events.get()) is not None:
            await self._socket.send_frame(bytes(event[1]), WSMsgType.TEXT)
            self._events.written(event)

    def _tell(self, **message: Any) -> None:
        self._events.put((message["type"], json.dumps(message).encode()))

    def _tell_output(self, name: str, data: bytes) -> None:
        self._tell_text(name, self._texts.next(name, data))

    def _tell_text(self, name: str, text: str) -> None:
        if text:
            self._tell(type="data", stream=name, data=text)

    def _tell_stage(self, stage: str) -> None:
        self._stage = stage
        self._tell(type="stage", stage=stage)

    def _tell_exit(self, code: int | None, signal_name: str | None) -> None:
        for name, text in self._texts.rest().items():
            self._tell_text(name, text)
        self._tell(type="exit", stage=self._stage, code=code, signal=signal_name)

    # -- the job

    async def _run(self, job: Job) -> Close:
        client, note = self._request[CLIENT], notes.of(self._request)
        runtime = self._runtimes.find(job.language, job.version)
        settings = self._parts.settings
        submission = orders.of_job(job, runtime.toolchain, settings, settings.run_limits(), client.token)
        self._held_bytes += submissions.held_bytes(submission)
        self._room.resize(self._held_bytes + self._dialogue.waiting_bytes)
        submission = dataclasses.replace(submission, stdin=b"", dialogue=self._dialogue, on_output=self._tell_output)
        try:
            async with self._runs.turn(submission, client, note) as turn:
                self._tell(type="runtime", language=runtime.language, version=runtime.version)
                report = await self._runs.run(turn.submission, note, lambda step: self._begin(step, turn.submission))
        except asyncio.CancelledError:
            if self._compiler_signal is None:
                raise
            self._tell_exit(None, self._compiler_signal)
            return COMPLETED
        self._end(report, runtime)
        return COMPLETED

    def _begin(self, step: str, submission: Submission) -> None:
        """A step of the toolchain begins. What was kept is compiled at once."""
        is_last = step == submission.toolchain.steps[-1].id
        if self._stage is None and (submission.toolchain.compiles or not is_last):
            self._tell_stage("compile")
        if is_last:
            if self._stage is not None:
                self._tell_exit(0, None)
            self._tell_stage("run")

    def _end(self, report: Report, runtime: Runtime) -> None:
        if report.reason is Reason.COMPILE_ERROR:
            for name, data in () if report.compilation is None else report.compilation.pieces:
                self._tell_output(name, data)
            stage = answers.of_compilation(report)
            self._tell_exit(stage.code, stage.signal)
        else:
            code, signal_name, _, _ = answers.ending(report)
            self._tell_exit(code, signal_name)
