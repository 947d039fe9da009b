"""Files that clients have put, for runs to come: contents below the state directory by their hash, and SQLite knows
whose they are. Several HTTP processes share it.

A client sees its own files alone, and has at most so many bytes of them: a new one takes the place of those that it has
used least lately. Where all clients together have too many, the one that has most loses them. What nobody used for
`hours` is gone. A content that a crash has torn is as good as none, because its hash is looked at.
"""

import contextlib
import hashlib
import pathlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

LOCK_S = 10.0  # for what other processes do with it
FILES_MAX, FILES_MAX_OF_ALL = 10_000, 100_000  # of one client, and of all together
_TABLE = """
create table if not exists files (
    client text, id text, digest text, bytes integer, used_s integer, primary key (client, id)
) without rowid;
create index if not exists by_digest on files (digest);
create index if not exists by_use on files (used_s);
"""


class Files:
    """In `folder`. Every method blocks, and raises OSError or sqlite3.Error where the disk does not work."""

    def __init__(
        self, folder: pathlib.Path, bytes_max: int, bytes_of_client: int, hours: float,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._folder, self._bytes_max, self._bytes_of_client = folder, bytes_max, bytes_of_client
        self._keep_s, self._clock = hours * 3600, clock

    def open(self) -> None:
        """Make what is missing, and forget what is too old."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(self._connected()) as database:
            database.execute("pragma journal_mode = wal")
            database.executescript(_TABLE)
        self.sweep()

    def sweep(self) -> None:
        """Forget what nobody used for so long."""
        with self._changing() as database:
            self._forget(database, "used_s <= ?", (self._now_s() - self._keep_s,))

    def put(self, client: str, file_id: str, content: bytes) -> None:
        """In place of one that has this id. Raises ValueError where it is larger than what a client may have."""
        if len(content) > self._bytes_of_client:
            raise ValueError(f"at most {self._bytes_of_client} bytes of files are kept for one client")
        digest = hashlib.sha256(content).hexdigest()
        with self._changing() as database:
            self._forget(database, "client = ? and id = ?", (client, file_id))
            self._forget(database, "used_s <= ?", (self._now_s() - self._keep_s,))
            self._make_room(database, client, len(content))
            self._write(digest, content)
            row = (client, file_id, digest, len(content), self._now_s())
            database.execute("insert into files values (?, ?, ?, ?, ?)", row)

    def sizes(self, client: str, ids: Iterable[str]) -> dict[str, int]:
        """Bytes of those that are there, which count as used now."""
        found = {}
        with self._changing() as database:
            for file_id in ids:
                row = database.execute(
                    "select digest, bytes from files where client = ? and id = ? and used_s > ?",
                    (client, file_id, self._now_s() - self._keep_s),
                ).fetchone()
                if row is not None and self._path(row[0]).exists():
                    found[file_id] = int(row[1])
                    database.execute(
                        "update files set used_s = ? where client = ? and id = ?", (self._now_s(), client, file_id)
                    )
        return found

    def read(self, client: str, ids: Iterable[str]) -> dict[str, bytes]:
        """Contents of those that are there and whole."""
        found = {}
        with contextlib.closing(self._connected()) as database:
            for file_id in ids:
                row = database.execute(
                    "select digest from files where client = ? and id = ?", (client, file_id)
                ).fetchone()
                if row is None:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    content = self._path(row[0]).read_bytes()
                    if hashlib.sha256(content).hexdigest() == row[0]:
                        found[file_id] = content
        return found

    # -- inside of a change, which one process makes at a time

    def _make_room(self, database: sqlite3.Connection, client: str, size: int) -> None:
        """For a file of so many bytes, of this client first."""
        bytes_after, count_after = size, 1
        for file_id, file_bytes in _of(database, client):
            bytes_after, count_after = bytes_after + file_bytes, count_after + 1
            if bytes_after > self._bytes_of_client or count_after > FILES_MAX:
                self._forget(database, "client = ? and id = ?", (client, file_id))
        self._make_room_among_all(database, size)

    def _make_room_among_all(self, database: sqlite3.Connection, size: int) -> None:
        shares: dict[str, int] = dict(database.execute("select client, sum(bytes) from files group by client"))
        (count,) = database.execute("select count(*) from files").fetchone()
        total = sum(shares.values())
        oldest: dict[str, list[tuple[str, int]]] = {}
        while count > 0 and (total + size > self._bytes_max or count >= FILES_MAX_OF_ALL):
            most = max(shares, key=lambda one: shares[one])
            if most not in oldest:
                oldest[most] = _of(database, most)
            file_id, file_bytes = oldest[most].pop()
            self._forget(database, "client = ? and id = ?", (most, file_id))
            shares[most], total, count = shares[most] - file_bytes, total - file_bytes, count - 1
            if not oldest[most]:
                del shares[most]

    def _forget(self, database: sqlite3.Connection, where: str, values: tuple[object, ...]) -> None:
        """Their contents too, where nobody else has the same."""
        gone = database.execute(f"delete from files where {where} returning digest", values).fetchall()
        for (digest,) in set(gone):
            if database.execute("select 1 from files where digest = ?", (digest,)).fetchone() is None:
                self._path(digest).unlink(missing_ok=True)

    def _write(self, digest: str, content: bytes) -> None:
        """Again, where it is there already: it may be torn."""
        path = self._path(digest)
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                pathlib.Path(file.name).replace(path)
            except OSError:
                pathlib.Path(file.name).unlink(missing_ok=True)
                raise

    # -- the files

    def _path(self, digest: str) -> pathlib.Path:
        return self._folder / digest[:2] / digest[2:]

    def _now_s(self) -> int:
        return int(self._clock())

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._folder / "files.sqlite", timeout=LOCK_S, isolation_level=None)
        database.execute("pragma synchronous = normal")  # what a power failure takes is put again
        return database

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; contents that nobody has any more are removed within it, so none comes back meanwhile."""
        with contextlib.closing(self._connected()) as database:
            database.execute("begin immediate")
            try:
                yield database
            except BaseException:
                database.execute("rollback")
                raise
            database.execute("commit")


def _of(database: sqlite3.Connection, client: str) -> list[tuple[str, int]]:
    """Id and bytes of each file of a client, the last used first."""
    rows = database.execute("select id, bytes from files where client = ? order by used_s desc, id desc", (client,))
    return rows.fetchall()
