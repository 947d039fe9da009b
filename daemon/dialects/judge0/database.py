"""The store's SQLite file: what one connection does, each function within one transaction or none.

Raises sqlite3.Error where the disk fails.
"""

import contextlib
import dataclasses
import pathlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from daemon.sandbox.errors import CellblockError

from . import tables
from .job import Job, Options
from .journal import Row
from .outcome import Facts, Outcome, Status

FILE = "judge0.sqlite"  # below the state directory
PROBE_BYTES = 256 << 10  # more than a file that has room for nothing new can take in pages that it has already
BUSY_S = 5.0  # another process writes for milliseconds
SHARE = 3  # one client has three quarters at most, a second one three quarters of the rest, as of the room for bodies
WAL_BYTES = 64 << 20
REMEDIES = {  # by what SQLite says, or we
    "full": "make room on its disk",
    "another version": "go back to that version, or move the file away: its submissions are lost then",
    "not a database": "move the file and those beside it away (its submissions are lost), or put a copy of it there",
    "malformed": "move the file and those beside it away (its submissions are lost), or put a copy of it there",
    "unable to open": "it must be a file that the service's user may read and write, in a folder where that may write",
    "readonly": "the service's user must be allowed to write it, and its file system be mounted for writing",
    "locked": "another program has it open, and writes to it",
}
REMEDY = "see whether its disk is full or broken, and whether the service's user may write there"


class NoRoom(CellblockError):
    """As many submissions are stored, or wait, as may be; `over_share`: this client has its share, others have not."""

    def __init__(self, text: str, over_share: bool) -> None:
        super().__init__(text)
        self.over_share = over_share


@dataclasses.dataclass(frozen=True, slots=True)
class Capacity:
    """`queue_max` submissions wait, `rows_max` and `bytes_max` are kept, for `keep_s` seconds from when they came.

    `answer_bytes` are counted for each that has no answer yet. `callback_tries`: how often a URL is tried.
    """

    queue_max: int
    rows_max: int
    bytes_max: int
    keep_s: float
    answer_bytes: int
    callback_tries: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A submission with what became of it so far. Of the large parts those are there that were asked for."""

    token: str
    job: Job
    outcome: Outcome
    created: float
    finished: float | None
    told: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """A submission that this process is to run, for the `tries`th time that anybody does."""

    number: int
    token: str
    client: str
    tries: int
    job: Job


def file_below(state: pathlib.Path) -> pathlib.Path:
    """Where the store is."""
    return state / FILE


def open_file(path: pathlib.Path) -> sqlite3.Connection:
    """A connection to the file, which is made where it is not there. Raises sqlite3.Error, and OSError for
    another version's."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        db.execute("PRAGMA trusted_schema = OFF")
        with transaction(db, durable=True):
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _statements(tables.SCHEMA):
                    db.execute(statement)
        if version not in (0, tables.VERSION):
            raise OSError("it was written by another version of cellblock")
    except BaseException:
        db.close()
        raise
    return db


def told(path: pathlib.Path, error: Exception) -> str:
    """The file, what is wrong with it, and what to do about it."""
    text = str(error)
    return f"{path}: {text}; {next((remedy for part, remedy in REMEDIES.items() if part in text), REMEDY)}"


def probe(db: sqlite3.Connection) -> None:
    """Write something that needs room, and take it back."""
    with transaction(db, durable=True):
        db.execute("CREATE TABLE IF NOT EXISTS probe (data BLOB NOT NULL) STRICT")
        db.execute("INSERT INTO probe VALUES (zeroblob(?))", (PROBE_BYTES,))
    write(db, "DELETE FROM probe", [()])


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit what is under way."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, *, durable: bool) -> Iterator[None]:
    """`durable`: it is on the disk when this ends."""
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def write(db: sqlite3.Connection, statement: str, values: Sequence[Any], *, durable: bool = False) -> int:
    """How many rows it changed."""
    with transaction(db, durable=durable):
        return db.executemany(statement, values).rowcount


def give_all_back(db: sqlite3.Connection, holder: str) -> None:
    """What this process holds may be taken by others at once."""
    write(db, tables.GIVE_ALL_BACK, [{"holder": holder}])


def holding(db: sqlite3.Connection, client: str) -> tuple[int, int]:
    """Rows and bytes."""
    row = db.execute("SELECT rows, bytes FROM holding WHERE client = ?", (client,)).fetchone()
    return (0, 0) if row is None else (row["rows"], row["bytes"])


def check_queue(db: sqlite3.Connection, client: str, more: int, most: int) -> None:
    """Raises NoRoom."""
    count = "SELECT count(*), coalesce(sum(client = ?), 0) FROM submission WHERE status <= 2 AND status = 1"
    waiting, own = db.execute(count, (client,)).fetchone()
    if waiting + more > most:
        raise NoRoom("queue is full", over_share=False)
    if own + more > SHARE * (most - waiting - more) and own + more > 1:
        raise NoRoom("queue is full for you: you have your share of it", over_share=True)


def make_room(db: sqlite3.Connection, client: str, rows: Sequence[Row], most: Capacity) -> None:
    """What has been told gives way: of whoever has most and has been told something, or the client's own where that is
    more, or all that there is. Raises NoRoom."""
    count, size = len(rows), sum(row["bytes"] for row in rows)
    while True:
        (all_rows, all_bytes), (own_rows, own_bytes) = holding(db, tables.TOTAL), holding(db, client)
        free_rows, free_bytes = most.rows_max - all_rows - count, most.bytes_max - all_bytes - size
        over_share = own_rows + count > SHARE * max(1, free_rows) or own_bytes + size > SHARE * free_bytes
        if free_rows >= 0 and free_bytes >= 0 and not over_share:
            return
        named = db.execute(tables.GREATEST).fetchone()
        is_greatest = named is None or own_bytes > named["bytes"]
        victims = (client,) if named is None or (over_share and is_greatest) else (named["client"], client)
        if not any(db.execute(tables.GIVE_WAY, (victim,)).rowcount for victim in victims):
            raise NoRoom("too many submissions are kept whose answers nobody has asked for", over_share)


def put_told(db: sqlite3.Connection, rows: Iterable[Row], most: Capacity) -> None:
    """Rows that have been told and may be there already. Those that find no room give way as told ones do.

    `rows` is read within the transaction.
    """
    by_client: dict[str, list[Row]] = {}
    with transaction(db, durable=False):
        for row in rows:
            by_client.setdefault(row["client"], []).append(row)
        for client, own in by_client.items():
            with contextlib.suppress(NoRoom):
                make_room(db, client, own, most)
                db.executemany(tables.INSERT_NEW, own)


def ended(outcome: Outcome, finished: float | None) -> dict[str, Any]:
    """The columns of an outcome; `finished` in seconds since 1970, None where it has not ended."""
    return {
        "status": int(outcome.status), "finished": finished, "stdout": outcome.stdout, "stderr": outcome.stderr,
        "compile_output": outcome.compile_output, "facts": outcome.facts.to_json(),
    }  # fmt: skip


def held(db: sqlite3.Connection, lease: Row) -> dict[str | None, int]:
    """How many each process holds, None: nobody."""
    found = db.execute(tables.HELD, lease)
    return {row["held_by"]: row["held"] for row in found}


def sizes(db: sqlite3.Connection, tokens: Sequence[str], blobs: Sequence[str]) -> tuple[int, int]:
    """How many of the tokens there are, and the bytes of these parts of them."""
    of_one = " + ".join(f"coalesce(length({name}), 0)" for name in blobs) or "0"
    marks = ",".join("?" * len(tokens))
    select = f"SELECT count(*), coalesce(sum({of_one}), 0) FROM submission WHERE token IN ({marks})"
    count, size = db.execute(select, tuple(tokens)).fetchone()
    return count, size


def find(db: sqlite3.Connection, tokens: Sequence[str], client: str | None, blobs: Sequence[str]) -> dict[str, Stored]:
    """By token those that there are, of `client` where one is given, with the large parts `blobs`."""
    columns = ", ".join((*tables.SMALL, *blobs))
    marks = ",".join("?" * len(tokens))
    select = f"SELECT {columns} FROM submission WHERE token IN ({marks}) AND expires > ? AND coalesce(client = ?, 1)"
    return {row["token"]: _stored(row, blobs) for row in db.execute(select, (*tokens, time.time(), client))}


def _stored(row: sqlite3.Row, blobs: Sequence[str]) -> Stored:
    given = {name: row[name] for name in blobs}
    facts = Facts() if row["facts"] is None else Facts.from_json(row["facts"])
    stdout, stderr, compile_output = (given.get(name) for name in tables.OUTPUT)
    outcome = Outcome(Status(row["status"]), stdout, stderr, compile_output, facts)
    return Stored(row["token"], job(row, given), outcome, row["created"], row["finished"], bool(row["told"]))


def job(row: sqlite3.Row, given: dict[str, Any] | None = None) -> Job:
    """What a row is to run; of its large parts those in `given`, all where that is None."""
    parts: Any = row if given is None else {**dict.fromkeys(tables.BLOBS), **given}
    blobs = (parts["source"] or b"", parts["stdin"], parts["expected"], parts["archive"])
    return Job(row["toolchain"], row["language_id"], *blobs, Options.from_json(row["options"]))
