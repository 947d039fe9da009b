"""POST /grade: a submission on tests that come with the request; and the answer of every grading."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import AsyncIterator

from aiohttp import web

from daemon.grading import task as tasks
from daemon.grading.checking import JUDGE_FILES, CheckerFailed, arguments_of
from daemon.grading.programs import CannotGrade
from daemon.grading.schedules import Listed
from daemon.grading.tokens import TokenOptions
from daemon.grading.verdicts import Verdict
from daemon.judge.submission import Submission
from daemon.sandbox.descriptors import memfd
from daemon.sandbox.model import Limits
from daemon.sandbox.threads import to_the_end
from daemon.settings import Settings
from daemon.toolchain.plan import JUDGE_LIMITS, own_limits
from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import Toolchain

from . import note as notes
from . import stream, submissions
from .allowance import within
from .client import CLIENT, Client
from .grade_models import (
    Compilation,
    CustomChecker,
    ExactChecker,
    GradeLimits,
    GradeRequest,
    GradeResponse,
    LinesChecker,
    ProblemVersion,
    TestAnswer,
    TestEntry,
    TokenChecker,
)
from .note import Note
from .parts import Parts, validate

MB, KB = 1 << 20, 1 << 10
MUCH_BYTES = MB  # of a test


class Grade:
    """What it raises, errors.middleware turns into answers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def grade(self, request: web.Request) -> web.StreamResponse:
        """Compile once, run every test, answer the verdicts, or each result as an event as soon as it is known.

        Raises ApiProblem, UnknownLanguage, SandboxUnavailable, and none of them once an event stream has begun.
        """
        parts, client = self._parts, request[CLIENT]
        parts.admission.check(client, is_patient=True)
        with parts.admission.room(client) as room:
            wanted = await parts.bodies.read(request, GradeRequest, room)
            toolchain = parts.toolchains.find(wanted.language)
            task = of_request(wanted, toolchain, parts, client)
            code = wanted.code
            del wanted
            return await self.answer(request, task, code)

    async def answer(
        self, request: web.Request, task: tasks.Task, code: str, problem: ProblemVersion | None = None
    ) -> web.StreamResponse:
        """Grade in a slot. `code` is the submission's, for input validation; `problem` is what the tests are of.

        Raises as `grade` does, and CannotGrade where the checker of a problem does not compile.
        """
        parts, client, note = self._parts, request[CLIENT], notes.of(request)
        note.language = task.submission.toolchain.id
        async with parts.admission.slot(client, is_patient=True) as slot:
            note.queue_ns = slot.waited_ns
            submission = dataclasses.replace(task.submission, sharing=slot.sharing)
            task = dataclasses.replace(task, client=client.name, submission=submission)
            await validate(parts, task.submission.toolchain, code)
            if not stream.is_wanted(request):
                answer = await self._grade(task, problem, note)
                return web.Response(text=answer.model_dump_json(), content_type="application/json")

            async def grade_aloud(tell: stream.Tell) -> stream.Event:
                def on_result(result: tasks.TestResult) -> None:
                    tell("test", of_test(result).model_dump_json().encode())

                try:
                    answer = await self._grade(dataclasses.replace(task, on_result=on_result), problem, note)
                    return "result", answer.model_dump_json().encode()
                finally:
                    slot.release()

            return await stream.stream(request, grade_aloud)

    async def _grade(self, task: tasks.Task, problem: ProblemVersion | None, note: Note) -> GradeResponse:
        try:
            result = await self._parts.grader.grade(task)
        except CheckerFailed as error:
            if problem is not None:
                raise CannotGrade(str(error)) from None
            raise submissions.out_of_range("checker", str(error)) from None
        note.graded(result)
        version = self._parts.versions.text(task.submission.toolchain.id)
        return of_result(result, task.submission.toolchain, version, problem, note.request_id)


def of_request(wanted: GradeRequest, toolchain: Toolchain, parts: Parts, client: Client) -> tasks.Task:
    """What the request of this client asks for.

    Raises ApiProblem: 413 where something is too long, 400 `invalid_request` with the field where it is out of range.
    """
    settings = parts.settings
    limits, output_bytes = _limits(wanted.limits, settings, client)
    files = submissions.files_of(wanted.files, toolchain, settings.files_bytes_max)
    code = submissions.code_of(wanted.code, settings.code_bytes_max)
    submission = Submission(toolchain, code, limits, output_bytes, files=files)
    tests = tuple(_test(entry, number) for number, entry in enumerate(wanted.tests))
    if len({test.id for test in tests}) != len(tests):
        raise submissions.out_of_range("tests", "two have the same id")
    schedule = Listed([test.id for test in tests], wanted.stop_on_failure)
    return tasks.Task(submission, tests, _checker(wanted, parts.toolchains, settings, client), schedule)


def _test(entry: TestEntry, number: int) -> tasks.Test:
    submissions.check_args(f"tests.{number}.args", entry.args)
    name = str(number + 1) if entry.id is None else entry.id
    return tasks.Test(name, functools.partial(_data, entry.input, entry.expected), tuple(entry.args))


@contextlib.asynccontextmanager
async def _data(given: bytes, expected: bytes) -> AsyncIterator[tasks.Data]:
    """In sealed memfds while the test runs; much of it is copied by a thread."""
    if len(given) + len(expected) > MUCH_BYTES:
        data = await to_the_end(_open_data, given, expected, undo=_close_data)
    else:
        data = _open_data(given, expected)
    try:
        yield data
    finally:
        _close_data(data)


def _open_data(given: bytes, expected: bytes) -> tasks.Data:
    """Raises OSError."""
    descriptor = memfd("stdin", given, sealed=True)
    try:
        return tasks.Data(descriptor, memfd("answer", expected, sealed=True))
    except OSError:
        os.close(descriptor)
        raise


def _close_data(data: tasks.Data) -> None:
    os.close(data.input)
    os.close(data.answer)


def _checker(wanted: GradeRequest, toolchains: Registry, settings: Settings, client: Client) -> tasks.Checker:
    match wanted.checker:
        case ExactChecker(kind=kind) | LinesChecker(kind=kind):
            return tasks.Plain(kind)
        case TokenChecker():
            try:
                return TokenOptions(**wanted.checker.model_dump(exclude={"kind"}))
            except ValueError as error:
                raise submissions.out_of_range("checker", str(error)) from None
        case CustomChecker():
            toolchain = toolchains.find(wanted.checker.language)
            entries, most = wanted.checker.files, settings.files_bytes_max
            files = submissions.files_of(entries, toolchain, most, "checker.files", JUDGE_FILES)
            code = submissions.code_of(wanted.checker.code, settings.code_bytes_max)
            limits = within(client.token, own_limits(JUDGE_LIMITS))
            submission = Submission(toolchain, code, limits, settings.output_bytes, files=files)
            checker = tasks.Custom(submission, tasks.Protocol(wanted.checker.protocol), tuple(wanted.checker.flags))
            submissions.check_args("checker.flags", arguments_of(checker))
            return checker


def _limits(wanted: GradeLimits, settings: Settings, client: Client) -> tuple[Limits, int]:
    maximum = within(client.token, settings.run_limits().graded)
    cpu_s: float = wanted.cpu_time
    if "cpu_time" not in wanted.model_fields_set:
        cpu_s = min(cpu_s, maximum.wall_ns / 1e9)
    cpu_ns = submissions.nanoseconds("limits.cpu_time", cpu_s, maximum.wall_ns)
    wall_ns = tasks.wall_ns(cpu_s, maximum.wall_ns)
    if wanted.wall_time is not None:
        wall_ns = submissions.nanoseconds("limits.wall_time", wanted.wall_time, maximum.wall_ns)
    memory_mb = _at_most(wanted, "memory_mb", maximum.memory_bytes // MB)
    output_kb = _at_most(wanted, "output_kb", settings.grade_output_mb_max * KB)
    processes = _at_most(wanted, "processes", maximum.processes)
    return Limits(memory_mb * MB, wall_ns, processes, cpu_ns), output_kb * KB


def _at_most(wanted: GradeLimits, name: str, most: int) -> int:
    """What is not said is lowered to `most`, as null is it. Raises ApiProblem 400 for what is said and out of range."""
    value: int | None = getattr(wanted, name)
    if value is None or name not in wanted.model_fields_set:
        return most if value is None else min(value, most)
    if not 0 < value <= most:
        raise submissions.out_of_range(f"limits.{name}", f"must be above 0 and at most {most}")
    return value


def of_result(
    result: tasks.GradeResult,
    toolchain: Toolchain,
    version: str | None,
    problem: ProblemVersion | None,
    request_id: str,
) -> GradeResponse:
    """The answer of a grading; ns become seconds."""
    failed = result.compilation
    return GradeResponse(
        verdict=result.verdict,
        score=result.score,
        compile=Compilation(
            success=failed is None,
            time=result.compile_ns / 1e9,
            cached=result.cached,
            error=None if failed is None else failed.error,
        ),
        tests=[of_test(test) for test in result.tests],
        cpu_time_max=_seconds(result.cpu_ns_max),
        memory_bytes_max=result.memory_bytes_max,
        language=toolchain.id,
        version=version,
        problem=problem,
        problems=list(result.problems),
        request_id=request_id,
    )


def of_test(result: tasks.TestResult) -> TestAnswer:
    """One test's result on the wire."""
    assert result.verdict is not Verdict.CE, "no test has this verdict"
    return TestAnswer(
        id=result.id,
        verdict=result.verdict,
        reason=result.reason,
        cpu_time=_seconds(result.cpu_ns),
        wall_time=_seconds(result.wall_ns),
        memory_bytes=result.memory_bytes,
        checker_message=result.message,
        score=result.score,
    )


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
