"""What others wrote, as a terminal may show it; failures of ours; a standard output that cannot be written to."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import click

from daemon.host import log
from daemon.sandbox.errors import CellblockError, OurFault

LEGIBLE = "\n\t"
EXIT_OURS = 125


class CannotPrint(OurFault):
    """Standard output does not take the answer."""


def legible(text: str) -> str:
    """Every character that a terminal might obey, as a Python escape such as \\x1b; line ends and tabs stay."""
    return "".join(
        one if one.isprintable() or one in LEGIBLE else one.encode("unicode_escape").decode("ascii") for one in text
    )


def say(text: str) -> None:
    """A line on standard output, written when this returns. Raises CannotPrint."""
    write(f"{text}\n".encode())


def write(data: bytes) -> None:
    """Likewise, as it is."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError as error:
        with open(os.devnull, "w") as nothing:  # Python would try once more when it ends
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        raise CannotPrint(f"standard output: {error.strerror}") from error


@contextlib.contextmanager
def service_errors() -> Iterator[None]:
    """As `our_errors`, for what a service manager starts too: where standard error is no terminal it is a log, which is
    told in one line of JSON, as all else there is. A defect, too, with its traceback."""
    if sys.stderr.isatty():
        with our_errors():
            yield
        return
    try:
        yield
    except Exception as error:
        if isinstance(error, CellblockError):
            text = log.line("cellblock", str(error))
        else:
            text = log.line("cellblock", f"defect: {type(error).__name__}", error)
        sys.stderr.write(f"{text}\n")
        sys.exit(EXIT_OURS)


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Failures that are not the program's: one line, exit status 125. Ctrl-C is 130, as shells have it."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except CellblockError as error:
        click.secho(legible(f"cellblock: {error}"), fg="red", err=True)
        sys.exit(EXIT_OURS)
