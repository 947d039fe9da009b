"""The routes of the base contract: POST /execute, GET /health, GET /languages, GET /."""

import dataclasses
from typing import Any

import psutil
from aiohttp import web

from daemon.judge.executor import OnStage
from daemon.toolchain.plan import run_limits

from . import cors, doc_routes, errors, grading, operations, problem_routes, responses, stream, submissions
from . import note as notes
from .client import CLIENT
from .endpoint import Endpoints
from .fact_models import DefaultLimits, Language
from .metrics_page import MetricsPage
from .models import ExecuteRequest
from .note import Note
from .observer import Observer
from .parts import VERSION, Parts
from .playground import EDITOR, Playground
from .runs import Runs, Turn

MB = 1 << 20
NO_OTHERS = Endpoints()


def application(parts: Parts, observer: Observer, page: MetricsPage, others: Endpoints = NO_OTHERS) -> web.Application:
    """The aiohttp application; nothing runs until it is served. `others`: endpoints beyond the base contract."""
    routes = Routes(parts)
    app = web.Application()  # body.py bounds what it reads itself
    cross_origin = cors.middleware(app, parts.settings.cors_origins, others.token_headers)
    app.middlewares.extend([cross_origin, errors.middleware, parts.access.middleware(app, others)])
    app.router.add_post("/execute", routes.execute)
    app.router.add_post("/grade", grading.Grade(parts).grade)
    observer.install(app)
    if parts.settings.metrics != "off":
        app.router.add_get("/metrics", page.get)
    problem_routes.Problems(parts).add_to(app.router)
    app.router.add_get("/health", routes.health)
    app.router.add_get("/health/live", parts.readiness.live)
    app.router.add_get("/health/ready", parts.readiness.ready)
    app.router.add_get("/languages", routes.languages)
    if parts.settings.playground:
        Playground(parts.settings.toolchain_root / EDITOR, routes.index).add_to(app.router)
    else:
        app.router.add_get("/", routes.index)
    doc_routes.Documents(parts.settings, parts.toolchains).add_to(app.router)
    others.add_to(app.router)
    return app


class Routes:
    """One method for each endpoint. What they raise, errors.middleware turns into answers."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._runs = parts, Runs(parts)
        self._run_limits = parts.settings.run_limits()

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """Run a program and answer what became of it, or the events of it where an event stream is accepted.

        Raises ApiProblem, UnknownLanguage, SandboxUnavailable, and none of them once an event stream has begun.
        """
        parts, client = self._parts, request[CLIENT]
        async with self._runs.received(request, ExecuteRequest) as (wanted, room):
            toolchain = parts.toolchains.find(wanted.language)
            note = notes.of(request)
            submission = submissions.of_request(wanted, toolchain, parts.settings, self._run_limits, client.token)
            binary = wanted.binary
            del wanted  # its texts are as large as the body
            async with self._runs.turn(submission, client, note, room) as turn:
                if not stream.is_wanted(request):
                    answer = await self._run(turn, None, binary, note)
                    return web.Response(body=answer, content_type="application/json", charset="utf-8")

                async def run_aloud(tell: stream.Tell) -> stream.Event:
                    output = stream.Output(tell)
                    try:
                        heard = dataclasses.replace(turn.submission, on_output=output.hear)
                        answer = await self._run(
                            dataclasses.replace(turn, submission=heard), stream.stage(tell), binary, note
                        )
                        return "result", answer
                    finally:
                        output.end()
                        turn.seat.release()  # whoever reads the stream slowly holds no slot

                return await stream.stream(request, run_aloud)

    async def _run(self, turn: Turn, on_stage: OnStage, binary: bool, note: Note) -> bytearray:
        """The answer of POST /execute as JSON. Raises SandboxUnavailable."""
        toolchain = turn.submission.toolchain
        report = await self._runs.run(turn.submission, note, on_stage)
        version = self._parts.versions.text(toolchain.id)
        answer = responses.of_report(toolchain, report, version, turn.finding, binary, note.request_id)
        return await responses.to_json_in_turns(answer)

    async def health(self, request: web.Request) -> web.Response:
        """200 when every language was seen to work lately and every part works, else 503; the body tells the sandbox's
        facts either way, but not to whom has no token for that."""
        parts = self._parts
        wardens, state, facts = parts.client.wardens(), parts.client.state, parts.client.facts
        wrong = parts.readiness.of_all()
        status: dict[str, Any] = {"status": "unhealthy" if wrong else "healthy", "version": VERSION}
        if not parts.access.may_watch(request[CLIENT]):
            return web.json_response(status, status=503 if wrong else 200)
        status |= {
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
            "toolchains": {name: parts.versions.text(name) for name in parts.toolchains.ids()},
            "queue": {"running": parts.admission.running, "waiting": parts.admission.waiting},
        }
        return web.json_response(status, status=503 if wrong else 200)

    async def languages(self, _: web.Request) -> web.Response:
        """Every language with its version and default limits, in the order of the ids."""
        known = []
        for toolchain in self._parts.toolchains:
            default, _maximum = run_limits(toolchain, self._run_limits)
            language = Language(
                id=toolchain.id,
                title=toolchain.title,
                aliases=list(toolchain.aliases),
                extensions=list(toolchain.extensions),
                source=toolchain.source,
                lexer=toolchain.lexer,
                example=toolchain.example,
                version=self._parts.versions.text(toolchain.id),
                compiles=toolchain.compiles,
                start_charged=toolchain.start_is_charged,
                default_limits=DefaultLimits(
                    timeout=default.wall_ns / 1e9,
                    memory_mb=default.memory_bytes // MB,
                    processes=default.processes,
                    output_bytes=self._parts.settings.output_bytes,
                ),
            )
            known.append(language.model_dump())
        return web.json_response({"languages": known})

    async def index(self, _: web.Request) -> web.Response:
        """Which endpoints there are."""
        return web.json_response({
            "message": "cellblock runs programs in single-use jails",
            "version": VERSION,
            "supported_languages": self._parts.toolchains.ids(),
            "endpoints": operations.endpoints(),
        })  # fmt: skip
