"""From a RunCodeRequest to a Submission, and from its Report to a RunCodeResponse. Pure."""

import base64
import dataclasses
import posixpath
from collections.abc import Iterable
from typing import assert_never

from daemon.api import submissions
from daemon.api.errors import ApiProblem
from daemon.api.tokens import Token
from daemon.judge.files import BadName, File, check_name
from daemon.judge.submission import Reason, Report, Submission
from daemon.sandbox.model import Limits
from daemon.settings import Settings
from daemon.toolchain.plan import RunLimits, own_limits
from daemon.toolchain.schema import Toolchain

from .models import CommandResult, CommandStatus, RunCodeRequest, RunCodeResponse, Status

MB = 1 << 20
KILLED = -9  # the return code of what a limit other than of time ended: SIGKILL did it
UNWANTED = "IGNORE_THIS_FILE"  # a file with this in its name is passed over, as in the original


def submission_of(
    wanted: RunCodeRequest, toolchain: Toolchain, settings: Settings, run: RunLimits, token: Token | None
) -> Submission:
    """What is asked for, with limits above this deployment's lowered to them, and types not checked.

    Raises ApiProblem: 413 where something is too long, 400 where a name cannot be had.
    """
    code, stdin = submissions.code_of(wanted.code, settings.code_bytes_max), wanted.stdin or b""
    if len(stdin) > settings.stdin_bytes_max:
        raise ApiProblem(413, "stdin_too_long", f"Input too long (max {settings.stdin_bytes_max} bytes)")
    default, maximum = submissions.bounds(toolchain, run, token)
    files = tuple(
        File(_name("files", name), content)
        for name, content in wanted.files.items()
        if content is not None and UNWANTED not in name
    )
    submissions.checked(files, toolchain, settings.files_bytes_max)
    return Submission(
        toolchain, code, _limits(wanted, default, maximum), settings.output_bytes, stdin, check=False, files=files,
        leaves=names_left(wanted.fetch_files), left_bytes_max=settings.files_bytes_max,
        compile_limits=_compile_limits(wanted, toolchain),
    )  # fmt: skip


def names_left(wanted: Iterable[str]) -> tuple[str, ...]:
    """The files to fetch, each once, by the names that they have below /work. Raises ApiProblem 400, too where two
    spellings name one file: the answer would have its content for each."""
    names: dict[str, str] = {}
    for spelling in wanted:
        name = _name("fetch_files", spelling)
        if ".." in name:
            raise submissions.out_of_range("fetch_files", f"{name}: no name with '..' can be fetched")
        if names.setdefault(name, spelling) != spelling:
            raise submissions.out_of_range("fetch_files", f"{name}: it is asked for by two spellings of its name")
    return tuple(names)


def _name(field: str, name: str) -> str:
    """Without "./" and the like. Raises ApiProblem 400."""
    try:
        return check_name(posixpath.normpath(name))
    except BadName as error:
        raise submissions.out_of_range(field, f"{name[:100]}: {error}") from None


def _limits(wanted: RunCodeRequest, default: Limits, maximum: Limits) -> Limits:
    memory_bytes = maximum.memory_bytes
    if wanted.memory_limit_MB > 0:
        memory_bytes = min(wanted.memory_limit_MB * MB, memory_bytes)
    wall_ns = min(_nanoseconds(wanted.run_timeout), maximum.wall_ns)
    return dataclasses.replace(default, memory_bytes=memory_bytes, wall_ns=wall_ns)


def _compile_limits(wanted: RunCodeRequest, toolchain: Toolchain) -> Limits | None:
    """None where nothing is compiled."""
    if not toolchain.compiles:
        return None
    own = own_limits(toolchain.steps[0].limits)
    return dataclasses.replace(own, wall_ns=min(own.wall_ns, _nanoseconds(wanted.compile_timeout)))


def _nanoseconds(seconds: float) -> int:
    """At least one, and no more than a message can tell (sandbox/fields.py)."""
    return max(1, int(min(seconds, 1e9) * 1e9))


def response(wanted: RunCodeRequest, toolchain: Toolchain, report: Report, pod_name: str) -> RunCodeResponse:
    """What became of it."""
    if report.reason is Reason.COMPILE_ERROR:
        reason = None if report.compilation is None else report.compilation.reason
        return RunCodeResponse(
            status=Status.FAILED, message=_sentence(reason, report), compile_result=_compilation(report),
            executor_pod_name=pod_name,
        )  # fmt: skip
    files = {name: report.left.get(posixpath.normpath(name)) for name in wanted.fetch_files}
    return RunCodeResponse(
        status=Status.SUCCESS if report.success else Status.FAILED,
        message=_sentence(report.reason, report),
        compile_result=_compilation(report) if toolchain.compiles else None,
        run_result=_run(report),
        executor_pod_name=pod_name,
        files={name: base64.b64encode(data).decode() for name, data in files.items() if data is not None},
    )


def refused(detail: str, pod_name: str) -> RunCodeResponse:
    """Of a program that this deployment does not run, whatever is done to it: that is no failure to be tried again."""
    return RunCodeResponse(status=Status.FAILED, message=detail, executor_pod_name=pod_name)


def _sentence(reason: Reason | None, report: Report) -> str:
    """What is told of a limit; the original says nothing of how a program ended."""
    return report.error or "" if reason not in (None, Reason.EXITED, Reason.SIGNAL) else ""


def _compilation(report: Report) -> CommandResult:
    """Nothing is kept of what a compiler said of a program that was compiled before."""
    seconds, made = report.compile_ns / 1e9, report.compilation
    if made is None:
        return CommandResult(status=CommandStatus.FINISHED, execution_time=seconds, return_code=0, stdout="", stderr="")
    result = _run(made).model_copy(update={"execution_time": seconds})
    if report.reason is not Reason.COMPILE_ERROR:
        return result
    code = result.return_code if result.return_code != 0 else 1  # it left no program, whatever it said
    text = result.stderr if result.stdout or result.stderr else report.error or ""
    return result.model_copy(update={"return_code": code, "stderr": text})


def _run(report: Report) -> CommandResult:
    status, code = CommandStatus.FINISHED, report.exit_code
    match report.reason:
        case Reason.TIME_LIMIT | Reason.CPU_LIMIT:
            status = CommandStatus.TIME_LIMIT_EXCEEDED
        case Reason.MEMORY_LIMIT | Reason.OUTPUT_LIMIT:
            code = KILLED
        case Reason.SIGNAL:
            code = None if report.signal is None else -report.signal
        case Reason.EXITED:
            pass
        case Reason.COMPILE_ERROR:
            raise AssertionError("it did not run")
        case _:
            assert_never(report.reason)
    return CommandResult(
        status=status, execution_time=report.wall_ns / 1e9, return_code=code, stdout=_text(report.stdout),
        stderr=_text(report.stderr),
    )  # fmt: skip


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
