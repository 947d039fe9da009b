"""Jobe's endpoints, below the path that CodeRunner asks for."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import structlog
from aiohttp import web

from daemon.api import errors
from daemon.api import note as notes
from daemon.api.admission import Room
from daemon.api.client import CLIENT
from daemon.api.endpoint import Endpoint
from daemon.api.errors import RETRY_AFTER_S, ApiProblem
from daemon.api.parts import Parts
from daemon.api.runs import Runs
from daemon.api.submissions import MB
from daemon.judge.submission import Report, Submission
from daemon.sandbox.threads import to_the_end

from . import translation
from .languages import Languages
from .models import JobeFile, JobeResult, JobeRun
from .store import Files
from .translation import Wanted

log = structlog.get_logger("cellblock.jobe")

ROOT = "/jobe/index.php/restapi"
KEY = ("X-API-KEY",)
OVERLOADS = ("queue_full", "over_share", "parser_unavailable")
SWEEP_S = 3600.0
WAIT_S = 10.0  # for a turn, as long as Jobe waits (its jobe_wait_timeout)
MUCH_BYTES = 64 << 10  # of an answer, which a thread makes
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_Found = TypeVar("_Found")


def tell(problem: ApiProblem) -> web.Response:
    """A JSON text. Jobe says 403 of a key that is missing or wrong; its clients take 401 for a limit of submissions."""
    headers = {} if problem.retry_after_s is None else {"Retry-After": str(problem.retry_after_s)}
    return web.json_response(problem.detail, status=403 if problem.status == 401 else problem.status, headers=headers)


def tell_of_run(problem: ApiProblem) -> web.Response:
    """The same, but of a server that is full a result."""
    if problem.code not in OVERLOADS:
        return tell(problem)
    answer = _json(translation.overloaded())
    answer.headers.update(errors.headers(problem))
    return answer


class Api:
    """A dialect.Dialect."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._parts, self._runs, self._run_limits = parts, runs, parts.settings.run_limits()
        self._languages = Languages(parts.toolchains)
        settings = parts.settings
        self._files = Files(
            settings.state / "jobe", settings.jobe_files_mb * MB, settings.jobe_files_of_client_mb * MB,
            settings.jobe_files_hours,
        )  # fmt: skip

    def endpoints(self) -> Iterator[Endpoint]:
        """All of them."""
        for slash in ("", "/"):
            yield Endpoint("GET", f"{ROOT}/languages{slash}", self.languages, tell, token_headers=KEY)
            yield Endpoint("POST", f"{ROOT}/runs{slash}", self.run, tell_of_run, token_headers=KEY)
        yield Endpoint("PUT", f"{ROOT}/files/{{id}}", self.put, tell, token_headers=KEY)
        yield Endpoint("HEAD", f"{ROOT}/files/{{id}}", self.head, tell, token_headers=KEY)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Its store of files is open, and looked through once an hour. Raises OSError where it cannot be opened."""
        try:
            await asyncio.to_thread(self._files.open)
        except sqlite3.Error as error:
            raise OSError(f"jobe: {error}") from error
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await to_the_end(self._files.sweep)
            except (OSError, sqlite3.Error) as error:
                log.warning("cannot look through the files", reason=str(error))

    async def languages(self, _: web.Request) -> web.Response:
        """[[name, version], ...]."""
        return web.json_response([[name, self._version(toolchain.id)] for name, toolchain in self._languages])

    def _version(self, toolchain_id: str) -> str:
        found = _VERSION.search(self._parts.versions.text(toolchain_id) or "")
        return "Unknown" if found is None else found[0]

    # -- runs

    async def run(self, request: web.Request) -> web.Response:
        """Run a program. Raises ApiProblem, SandboxUnavailable, turns.seats.Refused."""
        note = notes.of(request)
        async with self._runs.received(request, JobeRun, is_patient=True) as (run, room):
            wanted = translation.wanted_of(run, self._languages)
            if wanted.code == translation.OVERLOAD_TEST:
                return _json(translation.overloaded())
            del run
            submission = await self._submission(wanted, request, room)
            try:
                report = await self._report(request, submission, room)
            except ApiProblem as problem:
                if problem.code != "dangerous_operation":
                    raise
                note.code = problem.code
                return _json(translation.refused(problem.detail, note.request_id))
        if len(report.stdout) + len(report.stderr) <= MUCH_BYTES:
            return _json(translation.result(report, wanted.language, note.request_id))
        return await asyncio.to_thread(lambda: _json(translation.result(report, wanted.language, note.request_id)))

    async def _report(self, request: web.Request, submission: Submission, room: Room) -> Report:
        """What became of it, where it has its turn within WAIT_S; as `Runs.once` raises, and ApiProblem 503."""
        note = notes.of(request)
        try:
            async with (
                asyncio.timeout(WAIT_S) as patience,
                self._runs.turn(submission, request[CLIENT], note, room, is_patient=True) as turn,
            ):
                patience.reschedule(None)
                return await self._runs.run(turn.submission, note)
        except TimeoutError:
            if not patience.expired():
                raise
            detail = f"More come than can run: none could within {WAIT_S:g} s"
            raise ApiProblem(503, "queue_full", detail, retry_after_s=RETRY_AFTER_S) from None

    async def _submission(self, wanted: Wanted, request: web.Request, room: Room) -> Submission:
        """`room` holds the files too. Raises ApiProblem, 404 where one is not there."""
        client, settings = request[CLIENT], self._parts.settings
        contents: dict[str, bytes] = {}
        if wanted.files:
            ids = set(wanted.files.values())
            sizes = await self._stored(lambda: self._files.sizes(client.name, ids))
            size = sum(sizes.get(file_id, 0) for file_id in wanted.files.values())
            if size > settings.files_bytes_max:
                raise ApiProblem(413, "files_too_long", f"Files too long (max {settings.files_bytes_max} bytes)")
            room.resize(size + len(wanted.code) + len(wanted.spec.input or b""))
            contents = await self._stored(lambda: self._files.read(client.name, ids))
            if contents.keys() != ids:
                raise ApiProblem(404, "not_found", "One or more of the specified files is missing/unavailable")
        return translation.submission_of(wanted, contents, settings, self._run_limits, client.token)

    # -- files

    async def put(self, request: web.Request) -> web.Response:
        """Keep a file of this client. Raises ApiProblem."""
        file_id, client = self._file_id(request), request[CLIENT].name
        async with self._runs.received(request, JobeFile) as (file, _):
            try:
                await self._stored(lambda: self._files.put(client, file_id, file.file_contents))
            except ValueError as error:
                raise ApiProblem(413, "files_too_long", f"put: {error}") from None
        return web.Response(status=204)

    async def head(self, request: web.Request) -> web.Response:
        """204 where this client has put such a file, else 404."""
        file_id, client = self._file_id(request), request[CLIENT].name
        found = await self._stored(lambda: self._files.sizes(client, [file_id]))
        return web.Response(status=204 if found else 404)

    def _file_id(self, request: web.Request) -> str:
        file_id = request.match_info["id"]
        if not translation.is_file_id(file_id):
            raise ApiProblem(404, "not_found", "A file's id has 8 to 128 letters and digits")
        return file_id

    async def _stored(self, does: Callable[[], _Found]) -> _Found:
        """What a thread does with the store, to its end. Raises ApiProblem 507 where the disk does not work."""
        try:
            return await to_the_end(does)
        except (OSError, sqlite3.Error) as error:
            log.error("store of files", reason=str(error))
            raise ApiProblem(507, "store_full", "The store of files does not work; the log has the reason") from error


def _json(result: JobeResult) -> web.Response:
    return web.Response(text=result.model_dump_json(), content_type="application/json")
