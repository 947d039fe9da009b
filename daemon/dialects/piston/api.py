"""The endpoints of Piston's API v2; below /api/v2/piston too, as the public instance has them."""

import contextlib
from collections.abc import AsyncIterator, Iterable

from aiohttp import hdrs, web

from daemon.api import responses
from daemon.api.client import CLIENT
from daemon.api.endpoint import Endpoint
from daemon.api.errors import ApiProblem
from daemon.api.parts import Parts
from daemon.api.runs import Runs

from . import answers, orders
from .connect import Connect
from .models import OPTIONAL, Job
from .runtimes import Runtimes
from .telling import tell

ROOTS = ("/api/v2", "/api/v2/piston")
TOKEN_HEADERS = (hdrs.AUTHORIZATION,)  # clients send their key alone


class Api:
    """A dialect.Dialect."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._parts, self._runs = parts, runs
        self._runtimes = Runtimes(parts.toolchains, parts.versions)
        self._run_limits = parts.settings.run_limits()

    def endpoints(self) -> Iterable[Endpoint]:
        """The public instance has no packages and no WebSocket."""
        connect = Connect(self._parts, self._runs, self._runtimes).connect
        yield Endpoint("GET", f"{ROOTS[0]}/connect", connect, tell, token_headers=TOKEN_HEADERS)
        for root in ROOTS:
            yield Endpoint("GET", f"{root}/runtimes", self._list, tell, None, TOKEN_HEADERS)
            yield Endpoint("POST", f"{root}/execute", self._execute, tell, token_headers=TOKEN_HEADERS)
        yield Endpoint("GET", f"{ROOTS[0]}/packages", self._packages, tell, None, TOKEN_HEADERS)
        for method in ("POST", "DELETE"):
            yield Endpoint(method, f"{ROOTS[0]}/packages", self._refuse, tell, None, TOKEN_HEADERS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Nothing lives beside its requests."""
        yield

    async def _execute(self, request: web.Request) -> web.Response:
        token = request[CLIENT].token
        async with self._runs.received(request, Job) as (job, room):
            runtime = self._runtimes.find(job.language, job.version)
            submission = orders.of_job(job, runtime.toolchain, self._parts.settings, self._run_limits, token)
            del job  # its texts are as large as the body
            report = await self._runs.once(request, submission, room)
        made = await responses.to_json_in_turns(answers.of_report(report, runtime), OPTIONAL)
        return web.Response(body=made, content_type="application/json", charset="utf-8")

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response([
            {"language": one.language, "version": one.version, "aliases": one.aliases}
            | ({} if one.runtime is None else {"runtime": one.runtime})
            for one in self._runtimes.all()
        ])  # fmt: skip

    async def _packages(self, request: web.Request) -> web.Response:
        packages = {(one.runtime or one.language, one.version) for one in self._runtimes.all()}
        return web.json_response([
            {"language": name, "language_version": version, "installed": True} for name, version in sorted(packages)
        ])  # fmt: skip

    async def _refuse(self, request: web.Request) -> web.Response:
        detail = "Packages are neither installed nor removed through this API: languages are what the server has"
        raise ApiProblem(405, "method_not_allowed", detail)
