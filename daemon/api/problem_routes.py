"""/problems: packages that are stored here, and submissions that are graded by them."""

import asyncio
import functools

from aiohttp import web

from daemon.grading import task as tasks
from daemon.grading.packages.store import Held, Stored, check_id
from daemon.grading.problems import Bounds, check_language, limits_of, task_of
from daemon.grading.reception import Reception
from daemon.judge.files import File
from daemon.judge.submission import Submission
from daemon.sandbox.threads import to_the_end
from daemon.toolchain.schema import Toolchain

from . import allowance, submissions
from .client import CLIENT
from .errors import ApiProblem
from .grade_models import ProblemVersion
from .grading import Grade
from .parts import Parts
from .problem_models import ProblemGradeRequest, list_of, summary_of
from .tokens import Token
from .uploads import Uploads, receive

MB = 1 << 20


class Problems:
    """One method for each endpoint. What they raise, errors.middleware turns into answers."""

    def __init__(self, parts: Parts) -> None:
        settings = parts.settings
        self._parts, self._grade = parts, Grade(parts)
        self._uploads = Uploads(settings.uploads_at_once_of_one)
        run = settings.run_limits()
        self._bounds = Bounds(run.graded, settings.grade_output_mb_max * MB, run.judge_bytes)
        self._reception = Reception(parts.grader, parts.toolchains, settings.package_timing_s)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The routes."""
        router.add_get("/problems", self.list)
        router.add_put("/problems/{id}", self.put)
        router.add_get("/problems/{id}", self.get)
        router.add_delete("/problems/{id}", self.delete)
        router.add_post("/problems/{id}/grade", self.grade)

    async def list(self, _: web.Request) -> web.Response:
        """All problems, without what is in them."""
        found = list_of(await self._parts.store.list())
        return web.Response(text=found.model_dump_json(), content_type="application/json")

    async def put(self, request: web.Request) -> web.Response:
        """Store a package, in place of what had this id. 201 for a new id, 200 for a replaced one.

        The answer comes when the package is on the disk and has a time limit; until then nothing has changed, and when
        the client hangs up nothing will. Raises ApiProblem, BadProblemId, PackageRefused, CannotGrade, StoreFull,
        CannotRead, SandboxUnavailable.
        """
        settings, store = self._parts.settings, self._parts.store
        problem = request.match_info["id"]
        check_id(problem)
        client = request[CLIENT]
        with self._uploads.one(client.name), await asyncio.to_thread(store.scratch) as file:
            most, least = settings.package_mb_max * MB, settings.body_bytes_per_s_min
            await receive(request, file, most, settings.upload_s, least)
            admitted = functools.partial(self._parts.admission.slot, client, is_patient=True)
            bounds = allowance.bounds_within(client.token, self._bounds)
            put = await store.put(
                problem, file.fileno(),
                lambda package: self._reception.time_limit(package, bounds, admitted, client.name),
            )  # fmt: skip
        return await self._summary(put.stored, 201 if put.is_new else 200)

    async def get(self, request: web.Request) -> web.Response:
        """What a problem is. Its ETag is the version. Raises BadProblemId, NoSuchProblem, CannotRead."""
        stored = await self._parts.store.get(request.match_info["id"])
        if any(tag.value in (stored.version, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=_etag(stored))
        return await self._summary(stored, 200)

    async def _summary(self, stored: Stored, status: int) -> web.Response:
        found = await asyncio.to_thread(summary_of, stored, self._bounds, self._parts.toolchains)
        text = found.model_dump_json()
        return web.Response(status=status, text=text, content_type="application/json", headers=_etag(stored))

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a problem; gradings under way go on. Raises BadProblemId, NoSuchProblem, CannotRead."""
        await self._parts.store.delete(request.match_info["id"])
        return web.Response(status=204)

    async def grade(self, request: web.Request) -> web.StreamResponse:
        """Grade a submission by the version that the problem has now; the answers are those of POST /grade.

        Raises ApiProblem, UnknownLanguage, BadProblemId, NoSuchProblem, CannotGrade, CannotRead, SandboxUnavailable,
        and none of them once an event stream has begun.
        """
        parts = self._parts
        parts.admission.check(request[CLIENT], is_patient=True)
        with parts.admission.room(request[CLIENT]) as room:
            wanted = await parts.bodies.read(request, ProblemGradeRequest, room)
            toolchain = parts.toolchains.find(wanted.language)
            async with parts.store.hold(request.match_info["id"]) as held:
                task = await to_the_end(self._task, wanted, toolchain, held, request[CLIENT].token)
                code = wanted.code
                del wanted
                room.resize(submissions.held_bytes(task.submission))
                version = ProblemVersion(id=held.stored.id, version=held.stored.version)
                return await self._grade.answer(request, task, code, version)

    def _task(
        self, wanted: ProblemGradeRequest, toolchain: Toolchain, held: Held, token: Token | None
    ) -> tasks.Task:  # fmt: skip
        problem, settings = held.stored.problem, self._parts.settings
        check_language(problem, toolchain)
        limits, output_bytes = limits_of(problem, held.stored.time_limit.seconds, self._bounds)
        allowance.check(token, limits)
        code_bytes_max = min(settings.code_bytes_max, problem.limits.code_bytes or settings.code_bytes_max)
        code = submissions.code_of(wanted.code, code_bytes_max)
        files = submissions.files_of(wanted.files, toolchain, settings.files_bytes_max)
        _check_together(code, files, problem.limits.code_bytes)
        submission = Submission(toolchain, code, limits, output_bytes, files=files, name=wanted.name)
        bounds = allowance.bounds_within(token, self._bounds)
        return task_of(
            problem, held.open, submission, self._parts.toolchains, bounds, wanted.stop_on_failure
        )  # fmt: skip


def _check_together(code: bytes, files: tuple[File, ...], most: int | None) -> None:
    """The package's limit is for all files of a submission together ("Limits" of the format). Raises ApiProblem 413."""
    size = len(code) + sum(file.size for file in files)
    if most is not None and size > most:
        raise ApiProblem(413, "code_too_long", f"Code and files have {size} bytes together, {most} are allowed")


def _etag(stored: Stored) -> dict[str, str]:
    return {"ETag": f'"{stored.version}"'}
