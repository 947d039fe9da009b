"""What has been answered and is not in the database yet: appended to a file, and put there with others soon.

A transaction for each answer and the way to a thread and back took 0.4 ms of the 1.2 that a run takes of its HTTP
process. Each process has two files of its own, which it holds locked, below the state directory: one is written to,
while what the other has goes to the database in one transaction. A process that is killed loses nothing: whoever opens
the store next, or looks for a token that is not in the database, puts there what its files have. The token is unique
there, so that the same row may come twice. A host without power may lose the last moments; those answers were told.
"""

import contextlib
import fcntl
import marshal
import os
import pathlib
import sqlite3
import struct
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Row = dict[str, Any]
Put = Callable[[sqlite3.Connection, Iterable[Row]], None]

HEAD = struct.Struct("<II")  # of a record: its length and its CRC-32
ROW_BYTES_MAX = 64 << 10  # what is larger is better written by a thread
BYTES_MAX = 8 << 20  # of one file, and as much is in memory


class _Half:
    """A file with the rows that it has."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Raises OSError."""
        while True:
            self.path = folder / uuid.uuid4().hex
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            if os.fstat(self.descriptor).st_nlink:  # nobody took it for one that was left behind
                break
            os.close(self.descriptor)
        self.rows: list[Row] = []
        self.size = 0

    def add(self, record: bytes, row: Row) -> bool:
        with contextlib.suppress(OSError):
            if os.write(self.descriptor, record) == len(record):
                self.rows.append(row)
                self.size += len(record)
                return True
        os.ftruncate(self.descriptor, self.size)
        return False

    def clear(self) -> None:
        self.rows, self.size = [], 0
        os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        if not self.rows:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Journal:
    """`put` inserts rows whose token is not there yet. It reads them within its transaction: what is deleted meanwhile
    by who put it there does not come back. Only `add` may be called where nothing may block."""

    def __init__(self, folder: pathlib.Path, put: Put) -> None:
        self._folder, self._put = folder, put
        self._halves: list[_Half] = []  # the one that is written to, and the other
        self._adding, self._folding = threading.Lock(), threading.Lock()

    def __repr__(self) -> str:
        return f"<Journal: {[len(half.rows) for half in self._halves]}>"

    def open(self, db: sqlite3.Connection) -> None:
        """From now on rows are taken; those that others left are in the database. Idempotent. Raises OSError and
        sqlite3.Error."""
        if self._halves:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                if _is_left(file.fileno()):
                    self._put(db, records(file.read()))
                    path.unlink(missing_ok=True)
        halves = [_Half(self._folder), _Half(self._folder)]
        with self._adding:
            self._halves = halves

    def add(self, row: Row) -> bool:
        """Whether it was taken; it then survives this process. Else it is to be written by a thread."""
        data = marshal.dumps(row)
        if len(data) > ROW_BYTES_MAX:
            return False
        record = HEAD.pack(len(data), zlib.crc32(data)) + data
        with self._adding:
            return bool(self._halves) and self._halves[0].size < BYTES_MAX and self._halves[0].add(record, row)

    def fold(self, db: sqlite3.Connection, with_others: bool = False) -> None:
        """What was added before is in the database; with what other processes have now, if that is wanted.

        Raises sqlite3.Error and OSError, and nothing is lost then.
        """
        with self._folding:
            if self._halves:
                self._fold_half(db)  # where that failed before
                with self._adding:
                    self._halves.reverse()
                self._fold_half(db)
            if with_others and next(self._of_others(), None) is not None:
                self._put(db, self._of_others())

    def _fold_half(self, db: sqlite3.Connection) -> None:
        half = self._halves[1]
        if half.rows:
            self._put(db, half.rows)
            half.clear()

    def close(self, db: sqlite3.Connection) -> None:
        """Raises as `fold`; what is not in the database then is found by whoever opens the store next."""
        try:
            self.fold(db)
            self.fold(db)
        finally:
            with self._adding:
                halves, self._halves = self._halves, []
            for half in halves:
                half.close()

    def others_have(self, token: str) -> bool:
        """Another process is yet to put this row into the database, whether it is there or was there already."""
        return any(row["token"] == token for row in self._of_others())

    def _of_others(self) -> Iterator[Row]:
        own = {half.path for half in self._halves}
        for path in self._folder.iterdir() if own else ():
            if path not in own:
                with contextlib.suppress(FileNotFoundError):
                    yield from records(path.read_bytes())


def _is_left(descriptor: int) -> bool:
    """It is nobody's who lives; now it is locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def records(data: bytes) -> Iterator[Row]:
    """Those of a file, up to one that is not whole."""
    at = 0
    while at + HEAD.size <= len(data):
        length, check = HEAD.unpack_from(data, at)
        found = data[at + HEAD.size : at + HEAD.size + length]
        if len(found) < length or zlib.crc32(found) != check:
            return
        yield marshal.loads(found)
        at += HEAD.size + length
