"""The routes of the base contract: POST /execute, GET /health, GET /languages, GET /."""

import base64
import dataclasses
import importlib.metadata
import json
from collections.abc import Callable
from typing import Any

import psutil
from aiohttp import web

from daemon.judge.constructs import Constructs, Finding
from daemon.judge.executor import Executor, OnStage
from daemon.judge.files import BadName, File, check_together
from daemon.judge.self_tests import SelfTests
from daemon.judge.service import Service
from daemon.judge.submission import Submission
from daemon.sandbox.client import Client, SandboxUnavailable
from daemon.sandbox.fields import MAX_ARGS_BYTES
from daemon.sandbox.model import Limits
from daemon.sandbox.pumps import OnOutput
from daemon.settings import Settings
from daemon.toolchain.plan import run_limits
from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import Toolchain

from . import answers, body, cors, problems, stream
from .models import ExecuteRequest, Language
from .problems import ApiProblem, FieldError
from .queue import Queue

MB = 1 << 20
MAX_ESCAPED_BYTES = 60_000  # they travel in a JSON message of at most 64 KB
VERSION = importlib.metadata.version("cellblock")


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with; app.py builds it."""

    settings: Settings
    toolchains: Registry
    client: Client
    executor: Executor
    constructs: Constructs
    self_tests: SelfTests
    services: dict[str, Service]
    queue: Queue
    facts: dict[str, str]


def application(parts: Parts) -> web.Application:
    """The aiohttp application; nothing runs until it is served."""
    routes = Routes(parts)
    app = web.Application(client_max_size=parts.settings.body_bytes_max)
    app.middlewares.extend([cors.middleware(app, parts.settings.cors_origins), problems.middleware])
    app.router.add_post("/execute", routes.execute)
    app.router.add_get("/health", routes.health)
    app.router.add_get("/languages", routes.languages)
    app.router.add_get("/", routes.index)
    return app


class Routes:
    """One method per endpoint."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._run_limits = parts.settings.run_limits()

    async def execute(self, request: web.Request) -> web.StreamResponse:
        parts = self._parts
        parts.queue.check()
        length = parts.settings.body_bytes_max if request.content_length is None else request.content_length
        if length > parts.settings.body_bytes_max:
            raise web.HTTPRequestEntityTooLarge(parts.settings.body_bytes_max, length)
        with parts.queue.body(length):
            return await self._execute(request)

    async def _execute(self, request: web.Request) -> web.StreamResponse:
        parts = self._parts
        wanted = await body.read(request, ExecuteRequest)
        toolchain = parts.toolchains.find(wanted.language)
        submission = self._submission(toolchain, wanted)
        finding = await self._validate(toolchain, wanted.code)

        async def run(submission: Submission, on_stage: OnStage) -> str:
            version = parts.self_tests.proofs[toolchain.id].version
            async with parts.queue.slot():
                report = await parts.executor.execute(submission, version, on_stage)
            if report.success:
                parts.self_tests.succeeded(toolchain)
            return answers.to_json(answers.of_report(toolchain, report, version, finding, wanted.binary))

        if not stream.is_wanted(request):
            return web.Response(text=await run(submission, None), content_type="application/json")

        async def run_aloud(on_stage: Callable[[str], None], on_output: OnOutput) -> stream.Event:
            try:
                return "result", await run(dataclasses.replace(submission, on_output=on_output), on_stage)
            except (ApiProblem, SandboxUnavailable) as error:
                return "error", problems.body(problems.of_failure(error))

        parts.queue.check()
        return await stream.stream(request, run_aloud)

    def _submission(self, toolchain: Toolchain, wanted: ExecuteRequest) -> Submission:
        """Raises ApiProblem on anything that is out of range."""
        settings = self._parts.settings
        code, stdin = wanted.code.encode(), wanted.stdin.encode()
        if len(code) > settings.code_bytes_max:
            raise ApiProblem(413, "code_too_long", f"Code too long (max {settings.code_bytes_max} bytes)")
        if len(stdin) > settings.stdin_bytes_max:
            raise ApiProblem(413, "stdin_too_long", f"Input too long (max {settings.stdin_bytes_max} bytes)")
        if any("\0" in argument for argument in wanted.args):
            raise _out_of_range("args", "arguments cannot hold NUL")
        size = sum(len(argument.encode()) + 1 for argument in wanted.args)
        if size > MAX_ARGS_BYTES or len(json.dumps(wanted.args)) > MAX_ESCAPED_BYTES:
            raise _out_of_range("args", f"at most {MAX_ARGS_BYTES} bytes together")
        limits = self._limits(toolchain, wanted)
        return Submission(
            toolchain, code, limits, settings.output_bytes, stdin, tuple(wanted.args), wanted.check,
            self._files(toolchain, wanted),
        )  # fmt: skip

    def _files(self, toolchain: Toolchain, wanted: ExecuteRequest) -> tuple[File, ...]:
        """Raises ApiProblem."""
        found = []
        for number, entry in enumerate(wanted.files):
            try:
                is_base64 = entry.encoding == "base64"
                content = base64.b64decode(entry.content, validate=True) if is_base64 else entry.content.encode()
            except ValueError as error:
                raise _out_of_range(f"files.{number}.content", f"not base64: {error}") from None
            found.append(File(entry.name, content))
        size_max = self._parts.settings.files_bytes_max
        if sum(len(file.content) for file in found) > size_max:
            raise ApiProblem(413, "files_too_long", f"Files too long (max {size_max} bytes)")
        taken = {toolchain.source, *(step.artifact for step in toolchain.steps if step.artifact is not None)}
        try:
            check_together(tuple(found), taken)
        except BadName as error:
            raise _out_of_range("files", str(error)) from None
        return tuple(found)

    def _limits(self, toolchain: Toolchain, wanted: ExecuteRequest) -> Limits:
        default, maximum = run_limits(toolchain, self._run_limits)
        limits = default
        if wanted.timeout is not None:
            limits = dataclasses.replace(limits, wall_ns=_nanoseconds("timeout", wanted.timeout, maximum.wall_ns))
        if wanted.cpu_time_limit is not None:
            cpu_ns = _nanoseconds("cpu_time_limit", wanted.cpu_time_limit, maximum.wall_ns)
            limits = dataclasses.replace(limits, cpu_ns=cpu_ns)
        if wanted.memory_limit_mb is not None:
            if not 0 < wanted.memory_limit_mb <= maximum.memory_bytes // MB:
                raise _out_of_range("memory_limit_mb", f"must be from 1 to {maximum.memory_bytes // MB}")
            limits = dataclasses.replace(limits, memory_bytes=wanted.memory_limit_mb * MB)
        return limits

    async def _validate(self, toolchain: Toolchain, code: str) -> Finding | None:
        """Raises ApiProblem in `block` mode."""
        mode = self._parts.settings.validation
        finding = None if mode == "off" else await self._parts.constructs.find(toolchain, code)
        if finding is not None and mode == "block":
            detail = (
                f"Potentially dangerous operation detected: {finding.found} (line {finding.line}): {finding.reason}"
            )
            raise ApiProblem(400, "dangerous_operation", detail, (FieldError("code", detail),))
        return finding

    async def health(self, _: web.Request) -> web.Response:
        parts = self._parts
        wardens, state, facts = parts.client.wardens(), parts.client.state, parts.client.facts
        wrong = {**parts.self_tests.problems(), **{name: why for name, why in wardens.items() if why != "ready"}}
        if facts is None:
            wrong["keeper"] = "not connected"
        status: dict[str, Any] = {
            "status": "unhealthy" if wrong else "healthy",
            "version": VERSION,
            "problems": wrong,
            "sandbox": {
                **parts.facts,
                "cgroup": None if facts is None else facts.cgroup,
                "wardens": wardens,
                "jails": None if state is None else state.jails,
                "services": {name: "ready" if service.ready else "away" for name, service in parts.services.items()},
                "parked": {} if state is None else state.parked,
                "parked_bytes": None if state is None else state.parked_bytes,
            },
            "memory_bytes": {
                **({} if state is None else state.memory_bytes),
                "http": psutil.Process().memory_info().rss,
            },
            "toolchains": {name: proof.version for name, proof in parts.self_tests.proofs.items()},
            "queue": {"running": parts.queue.running, "waiting": parts.queue.waiting},
        }
        return web.json_response(status, status=503 if wrong else 200)

    async def languages(self, _: web.Request) -> web.Response:
        known = []
        for toolchain in self._parts.toolchains:
            default, _maximum = run_limits(toolchain, self._run_limits)
            language = Language(
                id=toolchain.id,
                title=toolchain.title,
                aliases=list(toolchain.aliases),
                extensions=list(toolchain.extensions),
                version=self._parts.self_tests.proofs[toolchain.id].version,
                compiles=toolchain.compiles,
                default_limits={
                    "timeout": default.wall_ns / 1e9,
                    "memory_mb": default.memory_bytes // MB,
                    "processes": default.processes,
                    "output_bytes": self._parts.settings.output_bytes,
                },
            )
            known.append(language.model_dump())
        return web.json_response({"languages": known})

    async def index(self, _: web.Request) -> web.Response:
        return web.json_response({
            "message": "cellblock runs programs in single-use jails",
            "version": VERSION,
            "supported_languages": self._parts.toolchains.ids(),
            "endpoints": {
                "POST /execute": "run a program",
                "GET /languages": "languages with versions and default limits",
                "GET /health": "200 when a program of every language ran within the last minute",
                "GET /": "this text",
            },
        })  # fmt: skip


def _nanoseconds(field: str, seconds: float, maximum_ns: int) -> int:
    nanoseconds = int(seconds * 1e9)
    if not 0 < nanoseconds <= maximum_ns:
        raise _out_of_range(field, f"must be above 0 and at most {maximum_ns / 1e9:g} seconds")
    return nanoseconds


def _out_of_range(field: str, message: str) -> ApiProblem:
    return ApiProblem(400, "invalid_request", f"{field}: {message}", (FieldError(field, message),))
