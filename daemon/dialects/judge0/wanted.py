"""From a body to a Job: Judge0's defaults, its bounds, and its words for what is wrong with which field.

A limit above what this deployment (or the token) allows is refused, as Judge0 refuses what is above its configuration;
GET /config_info tells the bounds.
"""

import dataclasses
import functools
import shlex
from collections.abc import Callable

import yarl

from daemon.judge.files import BadName, check_together
from daemon.judge.submission import Submission
from daemon.sandbox import fields
from daemon.sandbox.model import Limits
from daemon.settings import Settings
from daemon.toolchain.plan import RunLimits, run_limits
from daemon.toolchain.schema import Toolchain

from . import archive
from .job import Job, Options
from .models import Scalar, SubmissionBody

KB = 1 << 10
CPU_S, EXTRA_S, EXTRA_S_MAX, WALL_S_MIN = 5.0, 1.0, 5.0, 1.0
MEMORY_KB_MIN, RUNS_MAX, LINE_MAX = 2048, 20, 512
NO_OPTIONS = {"source_code", "language_id", "stdin", "expected_output", "additional_files"}
SHELL = str.maketrans("", "", "$&;<>|`")  # what Judge0 takes out of arguments before a shell reads them


class Invalid(Exception):
    """What is wrong, by field: the body of Judge0's 422."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Default and maximum of each limit, in Judge0's units."""

    cpu_s: tuple[float, float]
    extra_s: tuple[float, float]
    wall_s: tuple[float, float]
    memory_kb: tuple[int, int]
    stack_kb: tuple[int, int]
    processes: tuple[int, int]
    file_kb: tuple[int, int]
    runs: tuple[int, int] = (1, RUNS_MAX)

    @classmethod
    def of(cls, default: Limits, maximum: Limits, stack_mb: int, output_bytes: int) -> "Bounds":
        """`stack_mb` is what every jail has, `output_bytes` the most that a program may print."""
        wall_s = maximum.wall_ns / 1e9
        return cls(
            cpu_s=(min(CPU_S, default.wall_ns / 1e9), wall_s), extra_s=(EXTRA_S, EXTRA_S_MAX),
            wall_s=(default.wall_ns / 1e9, wall_s),
            memory_kb=(default.memory_bytes // KB, maximum.memory_bytes // KB),
            stack_kb=(stack_mb * KB, stack_mb * KB), processes=(default.processes, maximum.processes),
            file_kb=(output_bytes // KB, output_bytes // KB),
        )  # fmt: skip


def bounds_of(toolchain: Toolchain, run: RunLimits, lowered: Callable[[Limits], Limits]) -> Bounds:
    """`lowered`: what a token makes of limits."""
    default, maximum = (lowered(limits) for limits in run_limits(toolchain, run))
    return Bounds.of(default, maximum, toolchain.steps[-1].limits.stack_mb, run.output_bytes)


class _Reader:
    """Reads the fields of a body and notes what is wrong with each."""

    def __init__(self, body: SubmissionBody) -> None:
        self.body = body
        self.errors: dict[str, list[str]] = {}

    def wrong(self, field: str, message: str) -> None:
        self.errors.setdefault(field, []).append(message)

    def number(self, field: str, bounds: tuple[float, float], least: float, *, above: bool = False) -> float:
        """The default where none is given; `above`: it must be more than `least`."""
        default, most = bounds
        value = _number(getattr(self.body, field), default)
        if value is None:
            self.wrong(field, "is not a number")
        elif value < least or (above and value == least):
            self.wrong(field, f"must be greater than {'' if above else 'or equal to '}{least}")
        elif value > most:
            self.wrong(field, f"must be less than or equal to {most}")
        else:
            return value
        return default

    def flag(self, field: str) -> bool:
        return _flag(getattr(self.body, field))

    def line(self, field: str) -> str | None:
        value: str | None = getattr(self.body, field)
        if value is not None and len(value) > LINE_MAX:
            self.wrong(field, f"is too long (maximum is {LINE_MAX} characters)")
            return None
        return value


def _number(value: Scalar, default: float) -> float | None:
    """None: it is no number. Rails casts texts."""
    if value is None or value == "":
        return default
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e15 else None


def _flag(value: Scalar) -> bool:
    """As ActiveModel::Type::Boolean casts: all but these is true."""
    return value not in (None, False, 0, "", "0", "f", "F", "false", "FALSE", "off", "OFF")


def language_id(body: SubmissionBody) -> int | None:
    """None: there is none, or it is no number."""
    found = _number(body.language_id, 0)
    return None if found is None or body.language_id in (None, "") else int(found)


def job_of(
    body: SubmissionBody, toolchain: Toolchain | None, bounds: Bounds, settings: Settings,
    callback_refusal: Callable[[str], str | None],
) -> Job:  # fmt: skip
    """`toolchain` is the language's, None where there is none of its id; `callback_refusal` says why a URL is refused.

    It blocks for as long as unpacking a zip of `files_bytes_max` takes. Raises Invalid.
    """
    reader = _Reader(body)
    number = language_id(body)
    if number is None:
        reader.wrong("language_id", "can't be blank" if body.language_id in (None, "") else "is not a number")
    if toolchain is None:
        reader.wrong("language_id", f"language with id {'' if number is None else number} doesn't exist")
    source = _source(reader, settings.code_bytes_max)
    for field, data in (("stdin", body.stdin), ("expected_output", body.expected_output)):
        if data is not None and len(data) > settings.stdin_bytes_max:
            reader.wrong(field, f"is too long (maximum is {settings.stdin_bytes_max} bytes)")
    zipped = body.additional_files or None
    if zipped is not None and toolchain is not None:
        _check_archive(reader, zipped, toolchain, settings.files_bytes_max)
    has_options = not body.model_fields_set <= NO_OPTIONS
    options = _options(reader, bounds, callback_refusal) if has_options else _defaults(bounds)
    if options.compiler_options is not None and toolchain is not None:
        _check_compiler_options(reader, options.compiler_options, toolchain)
    if reader.errors or toolchain is None or number is None:
        raise Invalid(reader.errors)
    return Job(toolchain.id, number, source, body.stdin, body.expected_output, zipped, options)


def _source(reader: _Reader, bytes_max: int) -> bytes:
    source = reader.body.source_code or b""
    if not source.strip():
        reader.wrong("source_code", "can't be blank")
    if len(source) > bytes_max:
        reader.wrong("source_code", f"is too long (maximum is {bytes_max} bytes)")
    try:
        source.decode()
    except UnicodeDecodeError:
        reader.wrong("source_code", "is not UTF-8")
    return source


def _check_archive(reader: _Reader, zipped: bytes, toolchain: Toolchain, bytes_max: int) -> None:
    try:
        check_together(archive.read(zipped, bytes_max), set(toolchain.own_files))
    except (archive.BadArchive, BadName) as error:
        reader.wrong("additional_files", str(error))


def _check_compiler_options(reader: _Reader, line: str, toolchain: Toolchain) -> None:
    try:
        options = arguments_of(line)
        fields.arguments(options)
    except ValueError as error:
        reader.wrong("compiler_options", f"cannot be given to a compiler: {error}")
        return
    if not toolchain.takes_options:
        reader.wrong("compiler_options", f"setting compiler options is not allowed for {toolchain.title}")
    elif (refused := toolchain.refused(options)) is not None:
        reader.wrong("compiler_options", f"{refused} is not allowed for {toolchain.title}")


@functools.lru_cache(64)
def _defaults(bounds: Bounds) -> Options:
    return _options(_Reader(SubmissionBody()), bounds, lambda _: None)


def _options(reader: _Reader, bounds: Bounds, callback_refusal: Callable[[str], str | None]) -> Options:
    arguments = reader.line("command_line_arguments")
    try:
        fields.arguments(arguments_of(arguments))
    except ValueError as error:
        reader.wrong("command_line_arguments", f"cannot be given to a program: {error}")
    for name in ("time", "memory"):
        if reader.flag(field := f"enable_per_process_and_thread_{name}_limit"):
            reader.wrong(field, "this option cannot be enabled")
    if reader.flag("enable_network"):
        reader.wrong("enable_network", "enabling network is not allowed")
    url = reader.line("callback_url") or None
    if url is not None and (why := callback_refusal(url)) is not None:
        reader.wrong("callback_url", why)
    return Options(
        number_of_runs=int(reader.number("number_of_runs", bounds.runs, 0, above=True)) or 1,
        cpu_time_limit=reader.number("cpu_time_limit", bounds.cpu_s, 0),
        cpu_extra_time=reader.number("cpu_extra_time", bounds.extra_s, 0),
        wall_time_limit=reader.number("wall_time_limit", bounds.wall_s, min(WALL_S_MIN, bounds.wall_s[1])),
        memory_limit=int(reader.number("memory_limit", bounds.memory_kb, min(MEMORY_KB_MIN, bounds.memory_kb[1]))),
        stack_limit=int(reader.number("stack_limit", bounds.stack_kb, 0)),
        max_processes_and_or_threads=int(
            reader.number("max_processes_and_or_threads", bounds.processes, 0, above=True)
        ) or 1,
        max_file_size=int(reader.number("max_file_size", bounds.file_kb, 0)),
        command_line_arguments=arguments,
        compiler_options=reader.line("compiler_options") or None,
        redirect_stderr_to_stdout=reader.flag("redirect_stderr_to_stdout"),
        callback_url=url,
    )  # fmt: skip


def arguments_of(line: str | None) -> list[str]:
    """As a shell splits it, without what Judge0 takes out of it. Raises ValueError where a quotation does not end."""
    return shlex.split(line.translate(SHELL)) if line else []


def submission_of(job: Job, toolchain: Toolchain, settings: Settings, run: RunLimits) -> Submission:
    """What runs: its limits are lowered where the settings have become narrower since it was accepted. `run`: theirs.

    It blocks as `job_of` does.
    """
    asked = job.options
    default, most = run_limits(toolchain, run)
    cpu_ns = int((asked.cpu_time_limit + asked.cpu_extra_time) * 1e9)
    limits = dataclasses.replace(
        default,
        memory_bytes=min(asked.memory_limit * KB, most.memory_bytes),
        wall_ns=min(int(asked.wall_time_limit * 1e9), most.wall_ns),
        processes=min(asked.max_processes_and_or_threads, most.processes),
        cpu_ns=min(cpu_ns, most.wall_ns) if asked.cpu_time_limit else None,
    )
    output_bytes = min(asked.max_file_size * KB or settings.output_bytes, settings.output_bytes)
    files = () if job.archive is None else archive.read(job.archive, settings.files_bytes_max)
    arguments = tuple(arguments_of(asked.command_line_arguments))
    return Submission(
        toolchain, job.source, limits, output_bytes, job.stdin or b"", arguments, files=files,
        compiler_options=tuple(arguments_of(asked.compiler_options)),
    )  # fmt: skip


def default_bounds(settings: Settings, stack_mb: int, lowered: Callable[[Limits], Limits]) -> Bounds:
    """Those of a language whose file says nothing of its own."""
    run = settings.run_limits()
    return Bounds.of(lowered(run.default), lowered(run.maximum), stack_mb, settings.output_bytes)


def host_of(url: str) -> str | None:
    """The host of an http or https URL; None where it is none, or has a user or a password."""
    try:
        parsed = yarl.URL(url)  # as the client that will be sent there reads it
    except ValueError:
        return None
    if parsed.scheme not in ("http", "https") or parsed.user is not None or parsed.password is not None:
        return None
    return (parsed.raw_host or "").rstrip(".") or None
