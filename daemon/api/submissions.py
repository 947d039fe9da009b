"""From an ExecuteRequest to a Submission: sizes, limits, arguments and files, each within what the settings allow."""

import dataclasses
from collections.abc import Iterable, Sequence

from daemon.judge.files import BadName, File, check_together
from daemon.judge.submission import Submission
from daemon.sandbox import fields
from daemon.sandbox.model import Limits
from daemon.settings import Settings
from daemon.toolchain.plan import RunLimits, run_limits
from daemon.toolchain.schema import Toolchain

from .allowance import within
from .errors import ApiProblem
from .models import ExecuteRequest, FileEntry
from .parsing import FieldError
from .tokens import Token

MB = 1 << 20


def of_request(
    wanted: ExecuteRequest, toolchain: Toolchain, settings: Settings, run: RunLimits, token: Token | None
) -> Submission:
    """What a request asks for, with the deployment's defaults. `run` is `settings.run_limits()`; `token` may lower it.

    Raises ApiProblem: 413 where something is too long, 400 `invalid_request` with the field where it is out of range.
    """
    code, stdin = code_of(wanted.code, settings.code_bytes_max), wanted.stdin
    if len(stdin) > settings.stdin_bytes_max:
        raise ApiProblem(413, "stdin_too_long", f"Input too long (max {settings.stdin_bytes_max} bytes)")
    check_args("args", wanted.args)
    limits = _limits(wanted, toolchain, run, token)
    files = files_of(wanted.files, toolchain, settings.files_bytes_max)
    return Submission(toolchain, code, limits, settings.output_bytes, stdin, tuple(wanted.args), wanted.check, files)


def held_bytes(submission: Submission) -> int:
    """What of a request's body stays in memory until its program has ended."""
    return len(submission.code) + len(submission.stdin) + sum(file.size for file in submission.files)


def bounds(toolchain: Toolchain, run: RunLimits, token: Token | None) -> tuple[Limits, Limits]:
    """What a run of this client gets unasked, and the most that it may ask for."""
    default, maximum = run_limits(toolchain, run)
    return within(token, default), within(token, maximum)


def _limits(wanted: ExecuteRequest, toolchain: Toolchain, run: RunLimits, token: Token | None) -> Limits:
    default, maximum = bounds(toolchain, run, token)
    limits = default
    if wanted.timeout is not None:
        limits = dataclasses.replace(limits, wall_ns=nanoseconds("timeout", wanted.timeout, maximum.wall_ns))
    if wanted.cpu_time_limit is not None:
        cpu_ns = nanoseconds("cpu_time_limit", wanted.cpu_time_limit, maximum.wall_ns)
        limits = dataclasses.replace(limits, cpu_ns=cpu_ns)
    if wanted.memory_limit_mb is not None:
        if not 0 < wanted.memory_limit_mb <= maximum.memory_bytes // MB:
            raise out_of_range("memory_limit_mb", f"must be from 1 to {maximum.memory_bytes // MB}")
        limits = dataclasses.replace(limits, memory_bytes=wanted.memory_limit_mb * MB)
    return limits


def code_of(text: str, bytes_max: int) -> bytes:
    """A source. Raises ApiProblem 413."""
    code = text.encode()
    if len(code) > bytes_max:
        raise ApiProblem(413, "code_too_long", f"Code too long (max {bytes_max} bytes)")
    return code


def check_args(field: str, args: Sequence[str]) -> None:
    """Raises ApiProblem 400 where a program cannot be given these arguments."""
    try:
        fields.arguments(args)
    except ValueError as error:
        raise out_of_range(field, str(error)) from None


def files_of(
    entries: list[FileEntry], toolchain: Toolchain, bytes_max: int, field: str = "files", taken: Iterable[str] = ()
) -> tuple[File, ...]:
    """The files beside a source, none of which has a name that is `taken`. Raises ApiProblem 400 and 413."""
    return checked(tuple(File(entry.name, entry.content) for entry in entries), toolchain, bytes_max, field, taken)


def checked(
    found: tuple[File, ...], toolchain: Toolchain, bytes_max: int, field: str = "files", taken: Iterable[str] = ()
) -> tuple[File, ...]:
    """The same files, whose names are good each by itself. Raises ApiProblem 400 and 413."""
    if sum(file.size for file in found) > bytes_max:
        raise ApiProblem(413, "files_too_long", f"Files too long (max {bytes_max} bytes)")
    try:
        check_together(found, {*toolchain.own_files, *taken})
    except BadName as error:
        raise out_of_range(field, str(error)) from None
    return found


def nanoseconds(field: str, seconds: float, maximum_ns: int) -> int:
    """At least one. Raises ApiProblem 400 for less, and for more than the maximum."""
    exact = seconds * 1e9  # infinite for 1e308 seconds
    if not 1 <= exact <= maximum_ns:
        raise out_of_range(field, f"must be above 0 and at most {maximum_ns / 1e9:g} seconds")
    return int(exact)


def out_of_range(field: str, message: str) -> ApiProblem:
    """400 with the field that is wrong, and what it must be."""
    return ApiProblem(400, "invalid_request", f"{field}: {message}", (FieldError(field, message),))
