"""From a job of Piston's words to a Submission: which file is the main one, and limits within what is allowed here."""

import dataclasses
import posixpath

from daemon.api import submissions
from daemon.api.allowance import within
from daemon.api.errors import ApiProblem
from daemon.api.parsing import FieldError
from daemon.api.tokens import Token
from daemon.judge.files import BadName, check_name
from daemon.judge.files import File as Beside
from daemon.judge.submission import Submission
from daemon.sandbox.model import Limits
from daemon.settings import Settings
from daemon.toolchain.plan import RunLimits, own_limits, run_limits
from daemon.toolchain.schema import Toolchain

from .models import File, Job

NS_OF_MS = 1_000_000
CPU_MS_MAX = 1e9  # no wall limit is as long
NO_LIMIT = -1


def of_job(job: Job, toolchain: Toolchain, settings: Settings, run: RunLimits, token: Token | None) -> Submission:
    """Raises ApiProblem: 413 where something is too long, 400 with Piston's own words where it has some."""
    place = next((number for number, file in enumerate(job.files) if file.is_text), None)
    if place is None:
        raise _refusal("files must include at least one utf8 encoded file")
    if len(job.stdin) > settings.stdin_bytes_max:
        raise ApiProblem(413, "stdin_too_long", f"Input too long (max {settings.stdin_bytes_max} bytes)")
    submissions.check_args("args", job.args)
    compile_limits = _compile_limits(job, toolchain)
    limits = _run_limits(job, *(within(token, one) for one in run_limits(toolchain, run)))
    beside = tuple(_beside(number, file) for number, file in enumerate(job.files) if number != place)
    return Submission(
        toolchain, submissions.code_of(job.files[place].content.decode(), settings.code_bytes_max), limits,
        settings.output_bytes, job.stdin, job.args,
        files=submissions.checked(beside, toolchain, settings.files_bytes_max), compile_limits=compile_limits,
    )  # fmt: skip


def _beside(number: int, file: File) -> Beside:
    """A name is taken as below the folder of all files, as Node joins paths. Raises ApiProblem 400."""
    given = file.name or f"file{number}.code"
    name = posixpath.normpath(f"./{given}")
    if name == ".." or name.startswith("../"):
        raise _refusal(f'File path "{given}" tries to escape parent directory: {name}')
    try:
        return Beside(check_name(name), file.content)
    except BadName as error:
        raise _refusal(f"files[{number}].name: {error}") from None


def _run_limits(job: Job, default: Limits, maximum: Limits) -> Limits:
    memory = _wanted(job, "run_memory_limit", maximum.memory_bytes)
    wall_ms = _wanted(job, "run_timeout", maximum.wall_ns / NS_OF_MS)
    cpu_ms = _wanted(job, "run_cpu_time", None)
    return _limited(default, memory, wall_ms, cpu_ms)


def _compile_limits(job: Job, toolchain: Toolchain) -> Limits | None:
    """None where nothing is compiled."""
    if not toolchain.compiles:
        return None
    own = own_limits(toolchain.steps[0].limits)
    memory = _wanted(job, "compile_memory_limit", own.memory_bytes)
    wall_ms = _wanted(job, "compile_timeout", own.wall_ns / NS_OF_MS)
    cpu_ms = _wanted(job, "compile_cpu_time", None if own.cpu_ns is None else own.cpu_ns / NS_OF_MS)
    return _limited(own, memory, wall_ms, cpu_ms)


def _limited(limits: Limits, memory: float | None, wall_ms: float | None, cpu_ms: float | None) -> Limits:
    if memory is not None:
        limits = dataclasses.replace(limits, memory_bytes=max(1, int(memory)))
    if wall_ms is not None:
        limits = dataclasses.replace(limits, wall_ns=max(1, int(wall_ms * NS_OF_MS)))
    if cpu_ms is not None:
        limits = dataclasses.replace(limits, cpu_ns=max(1, int(min(cpu_ms, CPU_MS_MAX) * NS_OF_MS)))
    return limits


def _wanted(job: Job, name: str, configured: float | None) -> float | None:
    """What a field asks for; None: what is usual. Of memory -1, for Piston no limit, is the most that may be had.
    `configured` None: there is no limit. Raises ApiProblem 400."""
    value = job.limits.get(name)
    if value is None:
        return None
    if value == NO_LIMIT and name.endswith("memory_limit"):
        return configured
    if value < 0:
        raise _refusal(f"{name} must be non-negative")
    if configured is not None and value > configured:
        raise _refusal(f"{name} cannot exceed the configured limit of {_plain(configured)}")
    return value


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _refusal(text: str) -> ApiProblem:
    return ApiProblem(400, "invalid_request", text, (FieldError("body", text),))
