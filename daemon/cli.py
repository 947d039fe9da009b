"""The command line: cellblock serve | run | grade | token | bench | doctor | mcp.

Each command imports only what it needs when it runs, so that `--help` is fast, and so is a command that is started
again in a scope of its own (host/delegation.py).
"""

import asyncio
import json
import os
import pathlib
import socket
import sys

import click

from daemon.host.delegation import into_delegated_group
from daemon.mcp_command import mcp
from daemon.run_command import run
from daemon.terminal import our_errors as _our_errors
from daemon.terminal import service_errors as _service_errors
from daemon.token_command import token

DIALECTS = ("cellblock", "go-judge", "jobe", "judge0", "piston", "sandboxfusion")  # of bench/dialects.py


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cellblock")
def main() -> None:
    """Run other people's programs, each in a single-use jail."""


main.add_command(token)
main.add_command(run)
main.add_command(mcp)


@main.command()
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. [default: 8000]")
def serve(host: str | None, port: int | None) -> None:
    """Serve the HTTP API, until SIGTERM or Ctrl-C.

    Settings come from /etc/cellblock/cellblock.toml (CELLBLOCK_SETTINGS names another file), then from CELLBLOCK_*
    variables, then from these options.
    """
    with _service_errors():
        into_delegated_group()
        from daemon import launch, settings

        launch.supervise(settings.load(host=host, port=port))


@main.command(hidden=True)
@click.option(
    "--listen", type=int, multiple=True, help="Descriptor of a listening socket; else by systemd or settings."
)
@click.option("--parent", type=int, help="End when this process is no longer the parent.")
@click.option("--place", help="Which of several HTTP processes it is, a places.Place in JSON.")
@click.option("--notify", type=int, help="Descriptor to tell on that it is ready and lives; else NOTIFY_SOCKET.")
@click.option("--silence", type=float, help="Seconds that it may tell nothing there.")
def http(
    listen: tuple[int, ...], parent: int | None, place: str | None, notify: int | None, silence: float | None
) -> None:
    """The HTTP process, started by the supervisor or by systemd/cellblock.service."""
    with _service_errors():
        from daemon import launch, listeners, places, settings
        from daemon.host import service_manager

        configured = settings.load()
        if listen:
            sockets = [socket.socket(fileno=descriptor) for descriptor in listen]
            notifier = service_manager.of_descriptor(notify, silence)
        elif configured.http_processes > 1:
            launch.supervise_http(configured)
        else:
            notifier = service_manager.of_environment(os.environ)
            (sockets,) = listeners.of_service(configured)
        found = places.ALONE if place is None else places.Place(*json.loads(place))
        notifier.tell(STATUS="starting")  # before what takes long to import
        from daemon import app

        app.serve_http(configured, sockets, parent, notifier, found)


@main.command(hidden=True)
def keeper() -> None:
    """The keeper alone, started by systemd/cellblock-keeper.service."""
    with _service_errors():
        from daemon import launch, settings

        launch.become_keeper(settings.load())


@main.command()
@click.argument("package", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option(
    "--submission", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path), help="Grade this file alone."
)
@click.option(
    "--links-within",
    "within",
    type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path),
    help="Follow links of a package folder to what is below this folder. [default: the package]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def grade(
    package: pathlib.Path, submission: pathlib.Path | None, within: pathlib.Path | None, as_json: bool
) -> None:  # fmt: skip
    """Grade the example submissions of PACKAGE, a problem package in ICPC or Kattis format (a zip or a folder).

    Prints what each was expected to get and got. Exits with 1 where one did not get what its folder promises, and with
    125 where the package cannot be read or graded here; a submission in a language that is not installed is not run.
    """
    with _our_errors():
        into_delegated_group()
        from daemon import grade_report, settings

        request = grade_report.Request(package, submission, within, as_json)
        is_good = asyncio.run(grade_report.grade(settings.load(), request))
    sys.exit(0 if is_good else 1)


@main.command("settings")
def print_settings() -> None:
    """Print every setting with its meaning and default, as a settings file in which nothing is changed."""
    from daemon import settings_file

    click.echo(settings_file.template(), nl=False)


@main.command("doctor")
@click.option("--attack", is_flag=True, help="Run programs that try to break out instead, and say what is open.")
def examine_host(attack: bool) -> None:
    """Check this host and every toolchain; exit status 1 if something is wrong.

    Also warns of what makes verdicts unfair: SMT, frequency scaling, turbo, swap, huge pages, other work.

    With --attack programs in jails of this configuration try what docs/threats.md lists; exit status 1 if something is
    open, or a program failed to try. It takes some seconds, and a service that runs meanwhile is not asked.
    """
    with _our_errors():
        into_delegated_group()
        from daemon import doctor_report, settings

        configured = settings.load()
        is_well = doctor_report.attack(configured) if attack else doctor_report.examination(configured)
    sys.exit(0 if is_well else 1)


@main.command()
@click.option(
    "--url", help="Measure this server. Default: two of our own, one as shipped and one without anything warm."
)
@click.option("--dialect", type=click.Choice(DIALECTS), default="cellblock", show_default=True, help="Its words.")
@click.option("--own", is_flag=True, help="With --url: a server of our own in turn with that one.")
@click.option("--language", "languages", multiple=True, help="Toolchain id; may be repeated. [default: all]")
@click.option("--runs", type=click.IntRange(1), help="Runs of each variant. [default: 200; 40 with --fairness]")
@click.option("--concurrency", default="1,4,8,32", show_default=True, help="Requests at once, for the throughput.")
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Length of each throughput measurement.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=pathlib.Path), help="Write all samples.")
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=pathlib.Path), help="Write an SVG.")
@click.option(
    "--fairness", is_flag=True, help="CPU time of graded runs, alone and beside the worst neighbours, instead."
)
@click.option("--soak", type=float, help="Minutes of 80 % load on a server of our own instead; shows what grows.")
def bench(
    url: str | None, dialect: str, own: bool, languages: tuple[str, ...], runs: int | None, concurrency: str,
    seconds: float, json_file: pathlib.Path | None, plot_file: pathlib.Path | None, fairness: bool, soak: float | None,
) -> None:  # fmt: skip
    """Measure latency and throughput against the bare commands, interleaved in one run.

    Run it on an otherwise idle machine and compare the multiples, not the milliseconds. With --fairness it exits with 1
    where the CPU time of a program spreads too much for fair verdicts.
    """
    if own and (url is None or fairness or soak is not None):
        raise click.UsageError("--own is for --url, without --fairness and --soak")
    with _our_errors():
        if url is None or own:
            into_delegated_group()
        from rich.console import Console

        from daemon import settings
        from daemon.bench import report, runner

        console = Console(width=None if sys.stdout.isatty() else 120)
        configured = settings.load(languages=languages or None)
        if soak is not None:
            for language, found in runner.run_soak(configured, soak):
                report.soak_table(console, language, found)
            return
        if fairness:
            spreads = runner.run_fairness(configured, url, runs or 40)
            report.fairness_table(console, spreads)
            if json_file is not None:
                report.write_spreads(json_file, spreads)
            sys.exit(0 if all(spread.is_fair for spread in spreads if spread.is_ours) else 1)
        concurrencies = tuple(int(part) for part in concurrency.split(","))
        measured = runner.run(configured, url, dialect, runs or 200, concurrencies, seconds, with_own=own)
    report.table(console, *measured)
    if json_file is not None:
        report.write_json(json_file, *measured)
    if plot_file is not None:
        report.plot(plot_file, measured[0])
