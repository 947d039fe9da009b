"""From a run_spec to a Submission, and from its Report to Jobe's result. Pure."""

import dataclasses
import enum
import re
import shlex
from typing import assert_never

from daemon.api import submissions
from daemon.api.errors import ApiProblem
from daemon.api.submissions import MB
from daemon.api.tokens import Token
from daemon.judge.files import File
from daemon.judge.submission import Reason, Report, Submission
from daemon.sandbox.model import Limits
from daemon.settings import Settings
from daemon.toolchain.plan import RunLimits
from daemon.toolchain.schema import Toolchain

from .languages import JobeLanguage, Languages
from .models import JobeParameters, JobeResult, JobeRun, JobeRunSpec

CPU_S, PROCESSES, STREAM_MB = 5.0, 30, 2.0  # Jobe's defaults (app/Libraries/LanguageTask.php)
WALL_FACTOR = 2  # of the CPU time
BOUND = 1e9  # of a number, so that nothing overflows
ID_MIN, ID_MAX = 8, 128
LIMITS = ("cputime", "memorylimit", "numprocs", "streamsize", "disklimit")
OPTIONS = ("compileargs", "linkargs", "interpreterargs")
OVERLOAD_TEST = "!** TESTING OVERLOAD EXCEPTION **!"  # a source for which Jobe says that it is full
_FILE_ID = re.compile(r"[A-Za-z0-9]+")
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SOURCE_NAME = re.compile(r"""(?![.-])[^<>:"/\\|?*\x00-\x1f\x7f\xa0\xad#\[\]@!$&'()+,;={}^~`]{1,255}""")
_SHOWN = [chr(byte) if chr(byte) in "\t\n\r" or 32 <= byte < 127 else f"\\x{byte:02x}" for byte in range(256)]


class Outcome(enum.IntEnum):
    """Jobe's, of which 0 never comes."""

    COMPILATION_ERROR = 11
    RUNTIME_ERROR = 12
    TIME_LIMIT = 13
    SUCCESS = 15
    MEMORY_LIMIT = 17
    ILLEGAL_SYSCALL = 19
    INTERNAL_ERROR = 20
    SERVER_OVERLOAD = 21


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A run_spec that is whole. `files` has the ids of files that the client has put, by their names below /work."""

    spec: JobeRunSpec
    language: JobeLanguage
    toolchain: Toolchain
    code: str
    files: dict[str, str]


def wanted_of(run: JobeRun, languages: Languages) -> Wanted:
    """Raises ApiProblem 400 in Jobe's words."""
    spec = run.run_spec
    if spec is None:
        raise _wrong("No run_spec attribute found in post data")
    if spec.sourcecode is None:
        raise _wrong("run_spec is missing the required attribute 'sourcecode'")
    if spec.language_id is None:
        raise _wrong("run_spec is missing the required attribute 'language_id'")
    found = languages.find(spec.language_id)
    if found is None:
        raise _wrong(f"Language '{spec.language_id.lower()[:100]}' is not known")
    if spec.sourcefilename and _SOURCE_NAME.fullmatch(spec.sourcefilename) is None:
        raise _wrong("The sourcefilename for the run_spec is illegal")
    _check_limits(spec.parameters)
    _check_options(spec.parameters, *found)
    return Wanted(spec, *found, spec.sourcecode, _file_ids(spec))


def _file_ids(spec: JobeRunSpec) -> dict[str, str]:
    """Ids by name; the last counts of those that have the same name, as in Jobe."""
    found: dict[str, str] = {}
    for entry in spec.file_list or ():
        match entry[:2], len(entry):
            case [str(file_id), str(name)], 2 | 3 if is_file_id(file_id) and _is_file_name(name):
                found[name] = file_id
            case _:
                raise _wrong(f"Invalid file specifier: {str(entry)[:200]}")
    return found


def _is_file_name(name: str) -> bool:
    """Jobe's rule demands a letter or a digit in it."""
    return _FILE_NAME.fullmatch(name) is not None and name.strip("._-") != ""


def is_file_id(text: str) -> bool:
    """Letters and digits, mostly the MD5 of the content."""
    return ID_MIN <= len(text) <= ID_MAX and _FILE_ID.fullmatch(text) is not None


def _check_limits(parameters: JobeParameters) -> None:
    """Raises ApiProblem 400 for one below 0, with which Jobe starts nothing (its runguard takes no such option)."""
    for field in LIMITS:
        if (getattr(parameters, field) or 0) < 0:
            raise _wrong(f"The parameter {field} cannot be negative")


def _check_options(parameters: JobeParameters, language: JobeLanguage, toolchain: Toolchain) -> None:
    """Raises ApiProblem 400 for an option that would change the program and that the toolchain does not take."""
    for field in OPTIONS:
        for option in map(str.strip, getattr(parameters, field)):
            is_taken = field != "interpreterargs" and toolchain.takes(option)
            if option and not is_taken and option not in language.options:
                raise _wrong(f"The parameter {field} cannot have {option[:100]!r} on this server")
    if parameters.main_class is not None:
        raise _wrong("The parameter main_class is not supported: the class that has a main is found by itself")


def submission_of(
    wanted: Wanted, contents: dict[str, bytes], settings: Settings, run: RunLimits, token: Token | None
) -> Submission:
    """`contents` by id. Limits above this deployment's are lowered to them, but CPU time.

    Raises ApiProblem: 413 where something is too long, 400 where something cannot be had.
    """
    code, stdin = submissions.code_of(wanted.code, settings.code_bytes_max), wanted.spec.input or b""
    if len(stdin) > settings.stdin_bytes_max:
        raise ApiProblem(413, "stdin_too_long", f"Input too long (max {settings.stdin_bytes_max} bytes)")
    files = tuple(File(name, contents[file_id]) for name, file_id in wanted.files.items())
    submissions.checked(files, wanted.toolchain, settings.files_bytes_max, "file_list")
    stream_bytes = _at_least(1, wanted.spec.parameters.streamsize, STREAM_MB, MB)
    return Submission(
        wanted.toolchain, code, _limits(wanted, *submissions.bounds(wanted.toolchain, run, token)),
        min(stream_bytes, settings.output_bytes), stdin, _words(wanted.spec.parameters.runargs), files=files,
        compiler_options=_compiler_options(wanted.spec.parameters, wanted.toolchain),
    )  # fmt: skip


def _compiler_options(parameters: JobeParameters, toolchain: Toolchain) -> tuple[str, ...]:
    """Those that change something here."""
    asked = map(str.strip, (*parameters.compileargs, *parameters.linkargs))
    return tuple(option for option in asked if option and toolchain.takes(option))


def _words(texts: list[str]) -> tuple[str, ...]:
    """Jobe has a shell split and unquote them; nothing is expanded here. Raises ApiProblem 400."""
    try:
        words = tuple(shlex.split(" ".join(texts)))
    except ValueError as error:
        raise _wrong(f"runargs: {error}") from None
    submissions.check_args("runargs", words)
    return words


def _limits(wanted: Wanted, default: Limits, maximum: Limits) -> Limits:
    """Raises ApiProblem 400 where more CPU time is asked for than a run may last."""
    asked = wanted.spec.parameters
    cpu_ns = _at_least(1, asked.cputime, CPU_S, 10**9)
    if cpu_ns > maximum.wall_ns and asked.cputime is not None:
        raise _wrong(f"cputime exceeds maximum allowed on this Jobe server ({maximum.wall_ns / 1e9:g} secs)")
    cpu_ns = min(cpu_ns, maximum.wall_ns)
    memory_bytes = _at_least(0, asked.memorylimit, wanted.language.memorylimit, MB) or maximum.memory_bytes
    least = wanted.toolchain.steps[-1].limits.processes or 1
    processes = _at_least(1, asked.numprocs, PROCESSES, 1)
    return dataclasses.replace(
        default,
        cpu_ns=cpu_ns,
        wall_ns=min(WALL_FACTOR * cpu_ns, maximum.wall_ns),
        memory_bytes=min(memory_bytes, maximum.memory_bytes),
        processes=min(max(processes, least), maximum.processes),
    )


def _at_least(least: int, asked: float | None, default: float, unit: int) -> int:
    """In units; no less than `least` of them."""
    return max(least, int(min(default if asked is None else asked, BOUND) * unit))


def result(report: Report, language: JobeLanguage, run_id: str) -> JobeResult:
    """What became of a run. As in Jobe, whatever is written to stderr is a runtime error, and an exit code is none."""
    stdout, stderr = _clean(report.stdout), _clean(report.stderr)
    match report.reason:
        case Reason.COMPILE_ERROR:
            return JobeResult(run_id=run_id, outcome=Outcome.COMPILATION_ERROR, cmpinfo=report.error or "")
        case Reason.TIME_LIMIT | Reason.CPU_LIMIT:
            outcome, stderr = Outcome.TIME_LIMIT, ""
        case Reason.OUTPUT_LIMIT:
            outcome, stderr = Outcome.TIME_LIMIT, report.error or ""
        case Reason.MEMORY_LIMIT:
            outcome, stderr = Outcome.MEMORY_LIMIT, report.error or ""
        case Reason.SIGNAL:
            outcome, stderr = Outcome.RUNTIME_ERROR, report.error or ""
        case Reason.EXITED if not report.success and not stdout and language.is_syntax_error(stderr):
            return JobeResult(run_id=run_id, outcome=Outcome.COMPILATION_ERROR, cmpinfo=stderr)
        case Reason.EXITED:
            outcome = Outcome.RUNTIME_ERROR if stderr else Outcome.SUCCESS
        case _:
            assert_never(report.reason)
    return JobeResult(run_id=run_id, outcome=outcome, stdout=stdout, stderr=stderr)


def refused(detail: str, run_id: str) -> JobeResult:
    """Of a program with a construct that this deployment forbids."""
    return JobeResult(run_id=run_id, outcome=Outcome.ILLEGAL_SYSCALL, stderr=detail)


def overloaded() -> JobeResult:
    """Of a run that had no place."""
    return JobeResult(run_id="0", outcome=Outcome.SERVER_OVERLOAD)


def _clean(data: bytes) -> str:
    r"""UTF-8 as it is; of anything else the bytes that are no printable ASCII as \xff (its ResultObject.php)."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(map(_SHOWN.__getitem__, data))


def _wrong(detail: str) -> ApiProblem:
    return ApiProblem(400, "invalid_request", detail)
