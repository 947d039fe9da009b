"""Submissions over HTTP: made, shown, listed and deleted.

A submission is its client's alone where there are tokens. Without them whoever knows a submission's token may see it,
as in Judge0: it is 122 random bits.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Self

from aiohttp import web

from daemon.api import note as notes
from daemon.api.allowance import within
from daemon.api.client import CLIENT, Client
from daemon.api.errors import ApiProblem
from daemon.api.parts import Parts
from daemon.api.runs import Runs
from daemon.api.tokens import Token
from daemon.toolchain.schema import Toolchain

from . import shown, wanted
from .answers import Unprocessable, json_answer, large_answer, no_room, submission_answer
from .callbacks import Callbacks
from .connection import Unusable
from .database import NoRoom, Stored
from .facts import BATCH_MAX
from .job import Job
from .languages import Languages
from .models import BatchBody, EncodedBatch, EncodedBody, SubmissionBody
from .outcome import Status
from .store import Store
from .work import Work

PER_PAGE, PER_PAGE_MAX, PAGE_MAX = 20, 100, 10**9
TOKEN_CHARACTERS = 36
MUCH_BYTES = 64 << 10  # of large parts, which a thread makes into text
TELLING = {"stdout", "status"}  # whoever asks for neither, as one who polls `status_id`, has not been told the answer
COPIES = 3  # of a part, while its answer is made: the bytes, their base64, the JSON
NOT_TEXT = "cannot be converted to UTF-8, use base64_encoded=true query parameter"


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """What the query of a request says."""

    fields: tuple[str, ...]
    is_base64: bool
    waits: bool

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Raises ApiProblem 400."""
        query = request.query
        try:
            fields = shown.wanted(query.get("fields"))
        except shown.BadFields as error:
            raise _bad(str(error)) from None
        return cls(fields, query.get("base64_encoded") == "true", query.get("wait") == "true")


class Submissions:
    """Of one flavour. Nothing is asked before `open`."""

    def __init__(self, parts: Parts, runs: Runs, languages: Languages, callbacks: Callbacks) -> None:
        self._parts, self._runs, self._languages, self._callbacks = parts, runs, languages, callbacks
        self._run_limits = parts.settings.run_limits()
        self._common_bounds: dict[str, wanted.Bounds] = {}  # by toolchain, where no token lowers them
        self._store: Store
        self._work: Work

    def open(self, store: Store, work: Work) -> None:
        """What submissions are stored in, and who runs them."""
        self._store, self._work = store, work

    def language_of(self, job: Job) -> str:
        """The name of a submission's language; its id, where that is not here any more."""
        toolchain = next((one for one in self._parts.toolchains if one.id == job.toolchain), None)
        return job.toolchain if toolchain is None else self._languages.name(toolchain)

    async def create(self, request: web.Request) -> web.Response:
        """POST /submissions. Raises ApiProblem, and with `wait=true` what a run raises."""
        asked, client = _Asked.of(request), request[CLIENT]
        model = EncodedBody if asked.is_base64 else SubmissionBody
        async with self._runs.received(request, model, runs_now=asked.waits) as (body, room):
            job = await self._job(body, client)
            del body
            with _room_is_needed():
                if not asked.waits:
                    (token,) = await self._store.accept(client.name, [job])
                    self._work.wake()
                    return json_answer({"token": token}, 201)
                notes.of(request).language = job.toolchain
                self._store.check()
                outcome = await self._work.run(job, client, notes.of(request), room)
                found = await self._store.keep(client.name, job, outcome)
            if job.options.callback_url:
                self._work.wake()
            try:
                return await submission_answer(await self._fields(found, asked.fields, asked.is_base64), 201)
            except shown.NotText:
                return json_answer(
                    {"error": f"some attributes for this submission {NOT_TEXT}", "token": found.token}, 201
                )

    async def create_batch(self, request: web.Request) -> web.Response:
        """POST /submissions/batch: all that are right are accepted together. Raises ApiProblem."""
        client, is_base64 = request[CLIENT], request.query.get("base64_encoded") == "true"
        model = EncodedBatch if is_base64 else BatchBody
        async with self._runs.received(request, model, runs_now=False) as (body, _):
            _check_batch(len(body.submissions))
            made: list[Job | Unprocessable] = []
            for one in body.submissions:
                try:
                    made.append(await self._job(one, client))
                except Unprocessable as problem:
                    made.append(problem)
            with _room_is_needed():
                tokens = iter(await self._store.accept(client.name, [one for one in made if isinstance(one, Job)]))
        self._work.wake()
        answers: list[object] = [{"token": next(tokens)} if isinstance(one, Job) else one.by_field for one in made]
        return json_answer(answers, 201 if any(isinstance(one, Job) for one in made) else 422)

    async def show(self, request: web.Request) -> web.Response:
        """GET /submissions/{token}. Raises ApiProblem 400, 404, 429 and 503."""
        asked = _Asked.of(request)
        async with self._found(request, [request.match_info["token"]], asked) as found:
            for one in found.values():
                try:
                    fields = await self._fields(one, asked.fields, asked.is_base64)
                except shown.NotText:
                    raise _bad(f"some attributes for this submission {NOT_TEXT}") from None
                await self._tell([one], asked)
                return await submission_answer(fields)
        raise _gone()

    async def show_batch(self, request: web.Request) -> web.Response:
        """GET /submissions/batch?tokens=…; null stands for one that there is not. Raises as `show`."""
        asked = _Asked.of(request)
        given = request.headers.get("tokens") or request.query.get("tokens") or ""
        tokens = given.strip().split(",") if given.strip() else []
        _check_batch(len(tokens))
        async with self._found(request, tokens, asked) as found:
            return await large_answer(await self._all_fields([found.get(token) for token in tokens], asked))

    async def page(self, request: web.Request) -> web.Response:
        """GET /submissions: the client's own, where tokens say who it is. Raises ApiProblem, 403 too."""
        asked, client = _Asked.of(request), request[CLIENT]
        number = _number(request, "page", 1, 1, PAGE_MAX)
        per_page = min(_number(request, "per_page", PER_PAGE, 0, PAGE_MAX), PER_PAGE_MAX)
        if client.token is None:
            raise ApiProblem(403, "forbidden", "submissions are listed only to whom a token names: the client's own")
        tokens, count = await self._store.page(client.name, (number - 1) * per_page, per_page)
        pages = -(-count // per_page) if per_page else 0
        meta: dict[str, object] = {
            "current_page": number, "next_page": number + 1 if number < pages else None,
            "prev_page": number - 1 if number > 1 else None, "total_pages": pages, "total_count": count,
        }  # fmt: skip
        async with self._found(request, tokens, asked) as found:
            there = [found.get(token) for token in tokens if token in found]
            return await large_answer(await self._all_fields(there, asked), meta=meta)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /submissions/{token}, once it has ended; the answer is in base64, as Judge0's. Raises ApiProblem."""
        asked = dataclasses.replace(_Asked.of(request), is_base64=True)
        async with self._found(request, [request.match_info["token"]], asked) as found:
            for one in found.values():
                status = one.outcome.status
                if status in (Status.IN_QUEUE, Status.PROCESSING):
                    told = f"{int(status)} ({status.description})"
                    raise _bad(f"submission cannot be deleted because its status is {told}")
                if await self._store.remove(one.token):
                    return await submission_answer(await self._fields(one, asked.fields, is_base64=True))
        raise _gone()

    async def _job(self, body: SubmissionBody, client: Client) -> Job:
        """Raises Unprocessable."""
        toolchain = self._languages.find(wanted.language_id(body))
        known = toolchain or next(iter(self._parts.toolchains))  # whose bounds tell what is wrong with other fields
        bounds = self._bounds(known, client.token)
        given = (body, toolchain, bounds, self._parts.settings, self._callbacks.refusal)
        try:
            if body.additional_files is None:
                return wanted.job_of(*given)
            return await asyncio.to_thread(wanted.job_of, *given)
        except wanted.Invalid as invalid:
            raise Unprocessable(invalid) from None

    def _bounds(self, toolchain: Toolchain, token: Token | None) -> wanted.Bounds:
        if token is not None:
            return wanted.bounds_of(toolchain, self._run_limits, lambda limits: within(token, limits))
        found = self._common_bounds.get(toolchain.id)
        if found is None:
            found = wanted.bounds_of(toolchain, self._run_limits, lambda limits: limits)
            self._common_bounds[toolchain.id] = found
        return found

    @contextlib.asynccontextmanager
    async def _found(
        self, request: web.Request, tokens: Sequence[str], asked: _Asked
    ) -> AsyncIterator[dict[str, Stored]]:
        """Those that there are and that the client may see, in room that is held for them. Raises ApiProblem."""
        client, blobs = request[CLIENT], shown.blobs(asked.fields)
        tokens = [token for token in tokens if len(token) <= TOKEN_CHARACTERS and token.isascii()]  # as those made here
        with self._parts.admission.room(client) as room:
            whose = None if client.token is None else client.name
            size, found = await self._store.look(tokens, whose, blobs)
            room.resize(COPIES * size)
            if found is None:
                found = await self._store.find(tokens, whose, blobs)
            yield found

    async def _tell(self, found: Sequence[Stored], asked: _Asked) -> None:
        """Those whose answer is about to be told give way to others from now on; where that cannot be written, they
        do not."""
        if not TELLING.isdisjoint(asked.fields):
            with contextlib.suppress(Unusable):
                await self._store.tell(found)

    async def _all_fields(self, found: Sequence[Stored | None], asked: _Asked) -> list[dict[str, object] | None]:
        """Of what is about to be told. Raises ApiProblem 400."""
        try:
            made = [None if one is None else await self._fields(one, asked.fields, asked.is_base64) for one in found]
        except shown.NotText:
            raise _bad(f"some attributes for one or more submissions {NOT_TEXT}") from None
        await self._tell([one for one in found if one is not None], asked)
        return made

    async def _fields(self, found: Stored, names: Sequence[str], is_base64: bool) -> dict[str, object]:
        """Raises shown.NotText."""
        language = self.language_of(found.job)
        if found.job.size + found.outcome.size <= MUCH_BYTES:
            return shown.fields(found, names, language, is_base64)
        return await asyncio.to_thread(shown.fields, found, names, language, is_base64)


@contextlib.contextmanager
def _room_is_needed() -> Iterator[None]:
    """Raises ApiProblem 429 and 503 where the store has none."""
    try:
        yield
    except NoRoom as error:
        raise no_room(error) from None


def _check_batch(count: int) -> None:
    """Raises ApiProblem 400."""
    if count > BATCH_MAX:
        raise _bad(f"number of submissions in a batch should be less than or equal to {BATCH_MAX}")
    if count == 0:
        raise _bad("there should be at least one submission in a batch")


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """Raises ApiProblem 400."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = int(text[:12])
    except ValueError:
        value = 0  # as Ruby reads it
    if not least <= value <= most:
        raise _bad(f"invalid {name}: {value}")
    return value


def _bad(detail: str) -> ApiProblem:
    return ApiProblem(400, "invalid_request", detail)


def _gone() -> ApiProblem:
    return ApiProblem(404, "not_found", "there is no such submission")
