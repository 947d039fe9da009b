"""`cellblock run`: a program to its end, in a jail of this host or by a server, shown alike.

Each way imports only what it needs when it runs.
"""

import asyncio
import dataclasses
import json
import math
import pathlib
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from daemon.host.delegation import into_delegated_group
from daemon.terminal import our_errors, say, write

if TYPE_CHECKING:
    from cellblock_client import Client, RunResult

    from daemon.judge.submission import Reason, Report, Submission
    from daemon.settings import Settings

EXIT_TIME, EXIT_LIMIT, EXIT_COMPILE_ERROR = 124, 137, 65
OPTIONAL = ("output_base64", "stderr_base64", "warnings")  # absent where they are None, as in the API


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says; `timeout_s` and `language` None: nothing."""

    file: pathlib.Path
    stdin: bytes
    language: str | None
    timeout_s: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """What became of the program. `answer` is that of POST /execute, in JSON; `signal` is a number."""

    reason: "Reason"
    error: str | None
    stdout: bytes
    stderr: bytes
    exit_code: int | None
    signal: int | None
    answer: str


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@click.option("--stdin", "stdin", type=click.File("rb"), help="File for the program's standard input ('-' is yours).")
@click.option("--language", help="Toolchain id or alias. Default: by the file's extension.")
@click.option("--timeout", type=float, help="Seconds of wall time for the program.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of POST /execute.")
@click.option("--url", help="Let this server run it: http://…, https://… or unix:/PATH. Default: none, it runs here.")
@click.option(
    "--token-file", type=click.Path(path_type=pathlib.Path), help="File with the bearer token for that server."
)
def run(
    file: pathlib.Path, stdin: Any, language: str | None, timeout: float | None, as_json: bool, url: str | None,
    token_file: pathlib.Path | None,
) -> None:  # fmt: skip
    """Run FILE in a jail, without a server, or by the one that --url names.

    Exits with the program's code; 128 + n for signal n; 124 time limit, 137 memory and other limits, 65 compile
    error, 125 a failure of ours or a refusal of the server, 130 after Ctrl-C, which ends the program.
    """
    with our_errors():
        if token_file is not None and url is None:
            raise click.UsageError("--token-file is for a server: --url says which")
        wanted = Wanted(file, stdin.read() if stdin else b"", language, timeout)
        end = _here(wanted) if url is None else _by_server(wanted, url, token_file, as_json)
        if as_json:
            say(end.answer)
        else:
            _show(end)
    sys.exit(exit_status(end))


def _show(end: End) -> None:
    """Raises CannotPrint."""
    write(end.stdout)
    sys.stderr.buffer.write(end.stderr)
    sys.stderr.buffer.flush()
    if end.error and end.error.encode() != end.stderr:
        click.secho(f"cellblock: {end.error.splitlines()[-1]}", fg="red", err=True)


def exit_status(end: End) -> int:
    """The documented exit status of `cellblock run`."""
    from daemon.judge.submission import Reason

    match end.reason:
        case Reason.EXITED:
            return end.exit_code or 0
        case Reason.SIGNAL:
            return 128 + (end.signal or 0)
        case Reason.TIME_LIMIT:
            return EXIT_TIME
        case Reason.COMPILE_ERROR:
            return EXIT_COMPILE_ERROR
        case Reason.MEMORY_LIMIT | Reason.OUTPUT_LIMIT | Reason.CPU_LIMIT:
            return EXIT_LIMIT


# -- by this host


def _here(wanted: Wanted) -> End:
    into_delegated_group()
    from daemon import settings
    from daemon.api import responses

    configured = settings.load()
    submission = _submission(configured, wanted)
    report = asyncio.run(_run_alone(configured, submission))
    answer = responses.to_json(responses.of_report(submission.toolchain, report, None, None))
    return End(
        report.reason, report.error, report.stdout, report.stderr, report.exit_code, report.signal, answer
    )  # fmt: skip


def _submission(configured: "Settings", wanted: Wanted) -> "Submission":
    from daemon import launch
    from daemon.judge.submission import Submission
    from daemon.toolchain import plan

    toolchains = launch.load_registry(configured)
    toolchain = toolchains.find(wanted.language) if wanted.language else toolchains.find_by_file(wanted.file.name)
    limits, maximum = plan.run_limits(toolchain, configured.run_limits())
    if wanted.timeout_s is not None:
        exact_ns = wanted.timeout_s * 1e9  # infinite for 1e308 seconds
        if not 1 <= exact_ns <= maximum.wall_ns:
            raise launch.CannotStart(f"--timeout must be above 0 and at most {maximum.wall_ns / 1e9:g} seconds")
        limits = dataclasses.replace(limits, wall_ns=int(exact_ns))
    return Submission(toolchain, wanted.file.read_bytes(), limits, configured.output_bytes, wanted.stdin)


async def _run_alone(configured: "Settings", submission: "Submission") -> "Report":
    from daemon import app

    only = configured.model_copy(update={"languages": (submission.toolchain.id,)})
    async with app.own_engine(only) as (executor, _, _):
        return await executor.execute(submission)


# -- by a server


def _by_server(wanted: Wanted, url: str, token_file: pathlib.Path | None, as_json: bool) -> End:
    """Raises remote.NotServed."""
    from cellblock_client import Client, RunOptions

    from daemon import remote

    options = RunOptions(stdin=_text(wanted.stdin, "standard input"), binary=not as_json)
    code = _text(wanted.file.read_bytes(), str(wanted.file))
    if wanted.timeout_s is not None:
        if not math.isfinite(wanted.timeout_s):
            raise remote.NotServed("--timeout must be a finite number of seconds")
        options["timeout"] = wanted.timeout_s
    try:
        client = Client(url, token=remote.token_of(token_file))
    except ValueError as error:
        raise remote.NotServed(f"--url: {error}") from None
    with client, remote.refusals(url):
        language = wanted.language or _language_of(client, wanted.file)
        return _end_of(client.run(language, code, **options))


def _text(data: bytes, what: str) -> str:
    """Raises remote.NotServed: the API's texts are Unicode."""
    from daemon import remote

    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise remote.NotServed(f"{what} is not UTF-8 (byte {error.start}), which a server must be sent") from None


def _language_of(client: "Client", file: pathlib.Path) -> str:
    """By the server's own list. Raises remote.NotServed, and what the client raises."""
    from daemon import remote

    extension = file.suffix.lower().lstrip(".")
    known = {name: one.id for one in client.languages() for name in one.extensions}
    if extension not in known:
        names = ", ".join(f".{name}" for name in sorted(known))
        raise remote.NotServed(f"No language for the extension {extension!r} of {file.name}. Known: {names}")
    return known[extension]


def _end_of(result: "RunResult") -> End:
    """Raises remote.NotServed for an end or a signal that another version of the server tells of."""
    from daemon import remote
    from daemon.judge.submission import Reason

    try:
        reason = Reason(result.reason)
        number = None if result.signal is None else _number_of(result.signal)
    except (ValueError, KeyError) as error:
        raise remote.NotServed(f"The server tells of an end that is not known here: {error}") from None
    fields = dataclasses.asdict(result)
    told = {name: value for name, value in fields.items() if value is not None or name not in OPTIONAL}
    return End(
        reason, result.error, result.stdout_bytes, result.stderr_bytes, result.exit_code, number,
        json.dumps(told, ensure_ascii=False),
    )  # fmt: skip


def _number_of(name: str) -> int:
    """11 for SIGSEGV, 36 for SIGRTMIN+2, 32 for SIGRTMIN-2. Of this host, as a shell would tell it."""
    base, sign, more = re.split(r"([+-]|$)", name, maxsplit=1)
    return signal.Signals[base] + int(sign + more or 0)
