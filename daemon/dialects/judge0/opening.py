"""Before a server starts: whether the store's file can be opened and written to, by whoever will use it."""

import contextlib
import pathlib
import sqlite3

from daemon.sandbox.errors import OurFault

from . import database


class CannotOpen(OurFault):
    """The text names the file, the cause and the remedy."""


def check(state: pathlib.Path) -> None:
    """The file is made where it is not there. Raises CannotOpen."""
    path = database.file_below(state)
    try:
        with contextlib.closing(database.open_file(path)) as db:
            database.probe(db)
    except (sqlite3.Error, OSError) as error:
        raise CannotOpen(f"judge0: {database.told(path, error)}") from error
