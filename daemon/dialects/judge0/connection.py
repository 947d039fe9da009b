"""A connection to the store's file, the thread that it belongs to, and whether the file can be used."""

import asyncio
import concurrent.futures
import contextlib
import pathlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import structlog

from daemon.sandbox.order import SandboxUnavailable

from . import database

log = structlog.get_logger("cellblock.judge0")

_T = TypeVar("_T")


class Unusable(SandboxUnavailable):
    """The store's file cannot be read or written right now; the text names it, the cause and the remedy."""

    def __init__(self, why: str) -> None:
        super().__init__("submissions", why)


class Condition:
    """Of one file, which its connections share. `wrong` is why it could not be used when somebody last tried, None
    where it could. After a failure each connection is opened anew, since the file may have been put right or replaced.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.wrong: str | None = None
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Condition of {self.path}: {self.wrong or 'usable'}>"

    def failed(self, error: Exception) -> Unusable:
        """Notes it; the log has each new reason once."""
        why = database.told(self.path, error)
        if why != self.wrong:
            log.error("submissions cannot be stored", reason=why)
        self.wrong = why
        self.failures += 1
        return Unusable(why)

    def works(self) -> None:
        """It has been written to."""
        if self.wrong is not None:
            log.warning("submissions are stored again", path=str(self.path))
        self.wrong = None


class Thread:
    """A thread, and its connection, which is opened when it is first needed."""

    def __init__(self, thread: concurrent.futures.ThreadPoolExecutor, condition: Condition) -> None:
        self._thread, self._condition = thread, condition
        self._db: sqlite3.Connection | None = None
        self._failures = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, condition: Condition) -> AsyncIterator["Thread"]:
        """It ends with the body."""
        with concurrent.futures.ThreadPoolExecutor(1, "judge0-store") as thread:
            one = cls(thread, condition)
            try:
                yield one
            finally:
                await asyncio.get_running_loop().run_in_executor(thread, one._close)

    async def call(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """In its turn. Raises Unusable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, function)
        except (sqlite3.Error, OSError) as error:
            raise self._condition.failed(error) from error

    def _do(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._failures != self._condition.failures:
            self._close()
        if self._db is None:
            self._failures = self._condition.failures
            self._db = database.open_file(self._condition.path)
        return function(self._db)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
