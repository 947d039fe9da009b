"""Where tokens live: one SQLite file below the state directory, which all HTTP processes of a server share.

What has been accepted is on the disk before its token is told (WAL, synchronous=FULL), and so is what it ended as: a
process that is killed loses nothing, and neither does a host without power. A row is worked on by the process that
holds its lease; only that one may write its end, and an end never changes. So what ran twice, because a process died or
hung, still has one answer.

Each transaction is one call in a thread of the store's own, by the standard library's sqlite3.
"""

import asyncio
import concurrent.futures
import contextlib
import pathlib
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from daemon.sandbox.order import SandboxUnavailable

from . import database, tables
from .database import Capacity, Stored, Taken
from .job import Job
from .outcome import Outcome, Status

LEASE_S = 15.0  # renewed each third of it; what a dead process held is taken up after it
_T = TypeVar("_T")


class Store:
    """`async with Store.opened(path, capacity) as store`. Methods raise SandboxUnavailable where the disk fails."""

    def __init__(self, writing: "_Thread", reading: "_Thread", capacity: Capacity) -> None:
        self._writing, self._reading, self._capacity = writing, reading, capacity
        self._holder = uuid.uuid4().hex
        self._running: set[int] = set()  # numbers of what this process runs: those leases alone are renewed

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, path: pathlib.Path, capacity: Capacity) -> AsyncIterator["Store"]:
        """Raises OSError where the file cannot be used. At the end all that is held is given back."""
        async with _Thread.started(path) as writing, _Thread.started(path) as reading:
            store = cls(writing, reading, capacity)
            try:
                yield store
            finally:
                await writing.call(lambda db: database.give_all_back(db, store._holder))

    async def accept(self, client: str, jobs: Sequence[Job]) -> list[str]:
        """Tokens for jobs that are to run: all of them, or none. Raises NoRoom."""
        now = time.time()
        rows = [self._row(client, job, Outcome(Status.IN_QUEUE), now, self._capacity.answer_bytes) for job in jobs]

        def accept(db: sqlite3.Connection) -> list[str]:
            with database.transaction(db, durable=True):
                database.check_queue(db, client, len(rows), self._capacity.queue_max)
                database.make_room(db, client, rows, self._capacity)
                db.executemany(tables.INSERT, rows)
            return [row["token"] for row in rows]

        return await self._writing.call(accept)

    async def keep(self, client: str, job: Job, outcome: Outcome) -> Stored:
        """A job that has run already, whose client is about to be answered. Raises NoRoom.

        It survives the process at once, and a loss of power some moments later: the client has the answer.
        """
        now = time.time()
        row = self._row(client, job, outcome, now, 0)

        def keep(db: sqlite3.Connection) -> None:
            with database.transaction(db, durable=False):
                database.make_room(db, client, [row], self._capacity)
                db.execute(tables.INSERT, row)

        await self._writing.call(keep)
        return Stored(row["token"], job, outcome, now, now, told=True)

    def _row(self, client: str, job: Job, outcome: Outcome, now: float, more_bytes: int) -> dict[str, Any]:
        is_over = outcome.status > Status.PROCESSING
        tries = self._capacity.callback_tries if is_over and job.options.callback_url else 0
        return {
            "token": str(uuid.uuid4()), "client": client, "created": now, "expires": now + self._capacity.keep_s,
            "toolchain": job.toolchain, "language_id": job.language_id, "source": job.source, "stdin": job.stdin,
            "expected": job.expected, "archive": job.archive, "options": job.options.to_json(), "told": int(is_over),
            "callback": tries, "bytes": job.size + outcome.size + more_bytes,
            **database.ended(outcome, now if is_over else None),
        }  # fmt: skip

    async def find(self, tokens: Sequence[str], client: str | None, blobs: Sequence[str]) -> dict[str, Stored]:
        """Those of the tokens that there are; of `client`, where one is given. `blobs`: large parts that are wanted."""
        return await self._reading.call(lambda db: database.find(db, tokens, client, blobs))

    async def size(self, tokens: Sequence[str], blobs: Sequence[str]) -> int:
        """Bytes of these parts."""
        if not blobs:
            return 0
        sizes = " + ".join(f"coalesce(length({name}), 0)" for name in blobs)
        marks = ",".join("?" * len(tokens))
        select = f"SELECT coalesce(sum({sizes}), 0) FROM submission WHERE token IN ({marks})"
        return await self._reading.call(lambda db: int(db.execute(select, tuple(tokens)).fetchone()[0]))

    async def tell(self, found: Sequence[Stored]) -> None:
        """Those whose end is about to be told give way to others from now on."""
        new = [(one.token,) for one in found if not one.told and one.outcome.status > Status.PROCESSING]
        if new:
            await self._writing.call(
                lambda db: database.write(db, "UPDATE submission SET told = 1 WHERE token = ?", new)
            )

    async def page(self, client: str, offset: int, limit: int) -> tuple[list[str], int]:
        """Tokens of a client, the newest first, and how many there are of it."""

        def page(db: sqlite3.Connection) -> tuple[list[str], int]:
            select = "SELECT token FROM submission WHERE client = ? ORDER BY number DESC LIMIT ? OFFSET ?"
            return [token for (token,) in db.execute(select, (client, limit, offset))], database.holding(db, client)[0]

        return await self._reading.call(page)

    async def remove(self, token: str) -> bool:
        """Whether there was such a submission that had ended."""
        delete = "DELETE FROM submission WHERE token = ? AND status > 2"
        return bool(await self._writing.call(lambda db: database.write(db, delete, [(token,)])))

    async def waiting(self) -> tuple[int, int]:
        """How many wait, and how many are under way, in all processes."""
        count = "SELECT coalesce(sum(status = 1), 0), coalesce(sum(status = 2), 0) FROM submission WHERE status <= 2"
        return await self._reading.call(lambda db: tuple(db.execute(count).fetchone()))

    async def take(self, most_of_one: int) -> Taken | None:
        """The next to run, of a client that has fewer than `most_of_one` under way. This process holds it from now
        on."""

        def take(db: sqlite3.Connection) -> Taken | None:
            with database.transaction(db, durable=False):
                row = next(iter(db.execute(tables.TAKE, self._lease(most_of_one)).fetchall()), None)
            if row is None:
                return None
            return Taken(row["number"], row["token"], row["client"], row["tries"], database.job(row))

        taken = await self._writing.call(take)
        if taken is not None:
            self._running.add(taken.number)
        return taken

    async def finish(self, taken: Taken, outcome: Outcome) -> bool:
        """Whether this is the answer: False where the lease had run out, and somebody else's is. Where it cannot be
        written, the lease runs out, and it is run again."""
        self._running.discard(taken.number)
        tries = self._capacity.callback_tries if taken.job.options.callback_url else 0
        values = {
            **database.ended(outcome, time.time()), "bytes": taken.job.size + outcome.size, "callback": tries,
            "number": taken.number, "holder": self._holder,
        }  # fmt: skip
        return bool(await self._writing.call(lambda db: database.write(db, tables.FINISH, [values], durable=True)))

    async def give_back(self, taken: Taken, after_s: float, *, counted: bool) -> None:
        """Somebody is to take it in `after_s` seconds; `counted`: this was a try."""
        self._running.discard(taken.number)
        values = {
            "number": taken.number, "holder": self._holder, "not_before": time.time() + after_s,
            "uncounted": int(not counted),
        }  # fmt: skip
        await self._writing.call(lambda db: database.write(db, tables.GIVE_BACK, [values]))

    async def take_callback(self) -> Stored | None:
        """The next submission whose URL is to be told, which this process holds; it has been counted as a try."""

        def take(db: sqlite3.Connection) -> Stored | None:
            with database.transaction(db, durable=False):
                row = next(iter(db.execute(tables.TAKE_CALLBACK, self._lease(sys.maxsize)).fetchall()), None)
            if row is None:
                return None
            return database.find(db, [row["token"]], None, tables.OUTPUT).get(row["token"])

        return await self._writing.call(take)

    async def called_back(self, token: str, retry_after_s: float | None) -> None:
        """`retry_after_s` None: the URL has been told, or nobody is to try again."""
        now = time.time()
        more = "callback = 0, told = 1, " if retry_after_s is None else ""
        update = f"""UPDATE submission SET {more}holder = NULL, leased_until = NULL, not_before = ?
            WHERE token = ? AND holder = ?"""
        values = (now + (retry_after_s or 0), token, self._holder)
        await self._writing.call(lambda db: database.write(db, update, [values]))

    async def renew(self) -> None:
        """The leases of what this process runs. A URL is told within its first lease, or by somebody else."""
        until = time.time() + LEASE_S
        values = [(until, number, self._holder) for number in self._running]
        update = "UPDATE submission SET leased_until = ? WHERE number = ? AND holder = ? AND status = 2"
        await self._writing.call(lambda db: database.write(db, update, values))

    async def expire(self) -> bool:
        """Remove some of those whose time is over; whether there may be more."""
        return await self._writing.call(lambda db: database.write(db, tables.EXPIRE, [(time.time(),)])) >= 500

    def _lease(self, most_of_one: int) -> dict[str, Any]:
        now = time.time()
        return {
            "now": now, "beyond": now + 2 * LEASE_S, "until": now + LEASE_S, "holder": self._holder,
            "most_of_one": most_of_one,
        }  # fmt: skip


class _Thread:
    """A connection, and the thread that it belongs to."""

    def __init__(self, thread: concurrent.futures.ThreadPoolExecutor, db: sqlite3.Connection) -> None:
        self._thread, self._db = thread, db

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, path: pathlib.Path) -> AsyncIterator["_Thread"]:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1, "judge0-store") as thread:
            try:
                db = await loop.run_in_executor(thread, database.open_file, path)
            except sqlite3.Error as error:
                raise OSError(f"{path}: {error}") from error
            try:
                yield cls(thread, db)
            finally:
                await loop.run_in_executor(thread, db.close)

    async def call(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """In its turn. Raises SandboxUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, self._db)
        except sqlite3.Error as error:
            raise SandboxUnavailable("submissions", str(error)) from error
