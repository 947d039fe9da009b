"""Where tokens live: one SQLite file below the state directory, which all HTTP processes of a server share.

What has been accepted is on the disk before its token is told (WAL, synchronous=FULL), and so is what it ended as: a
process that is killed loses nothing, and neither does a host without power. A row is worked on by the process that
holds its lease; only that one may write its end, and an end never changes. So what ran twice, because a process died or
hung, still has one answer.

Each transaction is one call in a thread of the store's own (connection.py), by the standard library's sqlite3.
"""

import asyncio
import contextlib
import pathlib
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from . import database, tables
from .connection import Condition, Thread, Unusable
from .database import Capacity, Stored, Taken
from .job import Job
from .journal import Journal, Row
from .outcome import Outcome, Status

FOLD_S = 0.2  # what was answered is put into the database together with all that is answered meanwhile
AGAIN_S, REMOVE_TRIES = 1.0, 10  # and where that failed; whoever removes a row waits for that of others
SMALL_BYTES = 64 << 10  # of large parts, which are read before there is room for them
JOURNAL = "judge0-answered"  # beside the file
LEASE_S = 15.0  # renewed each third of it; what a dead process held is taken up after it


class Store:
    """`async with Store.opened(path, capacity) as store`. Methods raise Unusable where the disk fails; then the file is
    opened anew, and nothing that was accepted is lost."""

    def __init__(self, writing: Thread, reading: Thread, condition: Condition, capacity: Capacity) -> None:
        self._writing, self._reading, self._condition, self._capacity = writing, reading, condition, capacity
        self._journal = Journal(condition.path.with_name(JOURNAL), self._put)
        self._added = asyncio.Event()  # something to the journal
        self._holder = uuid.uuid4().hex
        self._running: set[int] = set()  # numbers of what this process runs: those leases alone are renewed

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, path: pathlib.Path, capacity: Capacity) -> AsyncIterator["Store"]:
        """The file may become usable later. At the end all that is held is given back; where that cannot be written,
        leases run out."""
        condition = Condition(path)
        async with Thread.started(condition) as writing, Thread.started(condition) as reading:
            store = cls(writing, reading, condition, capacity)
            with contextlib.suppress(Unusable):  # which is in the log, and in /health
                await store.probe()
            folding = asyncio.create_task(store._fold())
            try:
                yield store
            finally:
                folding.cancel()
                await asyncio.wait([folding])
                with contextlib.suppress(Unusable):
                    await writing.call(store._journal.close)
                    await writing.call(lambda db: database.give_all_back(db, store._holder))

    @property
    def wrong(self) -> str | None:
        """Why nothing can be stored; None: as far as is known it can."""
        return self._condition.wrong

    def check(self) -> None:
        """Before something is run whose answer is to be kept. Raises Unusable while nothing can be stored."""
        if self.wrong is not None:
            raise Unusable(self.wrong)

    async def probe(self) -> None:
        """Write something: whether that can be done (again)."""
        await self._writing.call(database.probe)
        await self._writing.call(self._journal.open)
        self._condition.works()

    def _put(self, db: sqlite3.Connection, rows: Iterable[Row]) -> None:
        database.put_told(db, rows, self._capacity)

    async def _fold(self) -> None:
        """Put what is added to the journal into the database, until it is cancelled."""
        wait_s = FOLD_S
        while True:
            await self._added.wait()
            await asyncio.sleep(wait_s)
            self._added.clear()
            try:
                await self._writing.call(self._journal.fold)
                wait_s = FOLD_S
            except Unusable:
                wait_s = AGAIN_S
                self._added.set()

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
        kept = Stored(row["token"], job, outcome, now, now, told=True)
        if job.options.callback_url is None and self._journal.add(row):
            self._added.set()
            return kept

        def keep(db: sqlite3.Connection) -> None:
            with database.transaction(db, durable=False):
                database.make_room(db, client, [row], self._capacity)
                db.execute(tables.INSERT, row)

        await self._writing.call(keep)
        return kept

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
        """Those of the tokens that `look` has seen; of `client`, where one is given. `blobs`: large parts that are
        wanted."""
        return await self._reading.call(lambda db: database.find(db, tokens, client, blobs))

    async def _fold_all(self) -> None:
        """What has been answered by now, whichever process did, is in the database."""
        await self._writing.call(lambda db: self._journal.fold(db, with_others=True))

    async def look(
        self, tokens: Sequence[str], client: str | None, blobs: Sequence[str]
    ) -> tuple[int, dict[str, Stored] | None]:
        """Bytes of these parts, and what `find` finds where that is SMALL_BYTES at most, else None. All of the tokens
        that there are are in the database then."""

        def look(db: sqlite3.Connection) -> tuple[int, int, dict[str, Stored] | None]:
            count, size = database.sizes(db, tokens, blobs)
            return count, size, database.find(db, tokens, client, blobs) if size <= SMALL_BYTES else None

        count, size, found = await self._reading.call(look)
        if count < len(set(tokens)):
            await self._fold_all()
            _, size, found = await self._reading.call(look)
        return size, found

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

        await self._fold_all()
        return await self._reading.call(page)

    async def remove(self, token: str) -> bool:
        """Whether there was such a submission that had ended. It does not come back by what a process has in its
        journal."""

        def may_come_back(db: sqlite3.Connection) -> bool:
            self._journal.fold(db)
            return self._journal.others_have(token)

        for _ in range(REMOVE_TRIES):
            if not await self._writing.call(may_come_back):
                break
            await asyncio.sleep(FOLD_S)
        delete = "DELETE FROM submission WHERE token = ? AND status > 2"
        return bool(await self._writing.call(lambda db: database.write(db, delete, [(token,)])))

    async def waiting(self) -> tuple[int, list[int]]:
        """How many nobody holds, and how many each other process does."""
        held = await self._reading.call(lambda db: database.held(db, self._lease(sys.maxsize)))
        return held.pop(None, 0), [count for holder, count in held.items() if holder != self._holder]

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
