"""SandboxFusion's endpoints. Its clients send batches, so a request waits for its turn as long as a graded one may."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

from daemon.api import errors
from daemon.api import note as notes
from daemon.api.client import CLIENT
from daemon.api.endpoint import Endpoint
from daemon.api.errors import ApiProblem
from daemon.api.parts import Parts
from daemon.api.runs import Runs

from . import translation
from .models import RunCodeRequest, RunCodeResponse, Status

REFUSED_PROGRAMS = ("dangerous_operation", "code_too_long")  # to ask again changes nothing
WRONG_BODIES = ("invalid_json", "invalid_request", "unsupported_language")
UNPROCESSABLE = 422  # what FastAPI answers to those
TRY_AGAIN = 429  # from this status on the fault is not the request's
COPIES = 4  # of a fetched file, while its answer is made: the bytes, their base64, the JSON as text and as bytes
MUCH_BYTES = 64 << 10  # of an answer, which a thread makes


def tell(problem: ApiProblem) -> web.Response:
    """As FastAPI tells it; where the sandbox is at fault, or full, as a result besides."""
    body: dict[str, object] = {"detail": problem.detail}
    status = UNPROCESSABLE if problem.code in WRONG_BODIES else problem.status
    if problem.errors:
        body["detail"] = [
            {"type": problem.code, "loc": ["body", *error.field.split(".")], "msg": error.message}
            for error in problem.errors
        ]
    if problem.status >= TRY_AGAIN:
        body |= RunCodeResponse(status=Status.SANDBOX_ERROR, message=problem.detail).model_dump(mode="json")
    return web.json_response(body, status=status, headers=errors.headers(problem))


class Api:
    """A dialect.Dialect."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._parts, self._runs, self._run_limits = parts, runs, parts.settings.run_limits()
        self._pod_name = parts.settings.instance

    def endpoints(self) -> Iterator[Endpoint]:
        """All of them."""
        yield Endpoint("POST", "/run_code", self.run_code, tell)
        yield Endpoint("GET", "/v1/ping", self.ping, tell, scope=None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """It keeps nothing."""
        yield

    async def ping(self, _: web.Request) -> web.Response:
        """That it is there."""
        return web.json_response("pong")

    async def run_code(self, request: web.Request) -> web.Response:
        """Run a program. Raises ApiProblem, UnknownLanguage, SandboxUnavailable, turns.seats.Refused."""
        async with self._runs.received(request, RunCodeRequest, is_patient=True) as (wanted, room):
            toolchain = self._parts.toolchains.find(wanted.language)
            try:
                submission = translation.submission_of(
                    wanted, toolchain, self._parts.settings, self._run_limits, request[CLIENT].token
                )
                report = await self._runs.once(request, submission, room, is_patient=True)
            except ApiProblem as problem:
                if problem.code not in REFUSED_PROGRAMS:
                    raise
                notes.of(request).code = problem.code
                answer = translation.refused(problem.detail, self._pod_name)
                return _json(answer)
            left_bytes = sum(map(len, report.left.values()))
            room.resize(COPIES * left_bytes)
            if left_bytes + len(report.stdout) + len(report.stderr) <= MUCH_BYTES:
                return _json(translation.response(wanted, toolchain, report, self._pod_name))
            return await asyncio.to_thread(
                lambda: _json(translation.response(wanted, toolchain, report, self._pod_name))
            )


def _json(answer: RunCodeResponse) -> web.Response:
    return web.Response(text=answer.model_dump_json(), content_type="application/json")
