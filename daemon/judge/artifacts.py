"""What compiling left, kept: sealed memfds in memory, the least recently used dropped first, and files behind them.

The key is a hash of all that an artefact follows from. A file is a checksum and the bytes, so one that was torn by a
crash is as good as none; several HTTP processes may share the directory (diskcache's documentation).
"""

import asyncio
import collections
import contextlib
import hashlib
import io
import os
import pathlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import cachetools
import diskcache
import structlog

from daemon.sandbox.descriptors import copy, sealed_copy
from daemon.sandbox.threads import to_the_end

log = structlog.get_logger("cellblock.artifacts")

CHECKSUM_BYTES = hashlib.sha256().digest_size
LEAST_BYTES = 64 << 10
PIECE_BYTES = 1 << 20
SETTINGS = {"disk_min_file_size": 0}  # every artefact is a file
WRITES_MAX = 8  # that wait for the disk; an artefact beyond them is kept in memory only


def key_of(
    identity: bytes, code: bytes, check: bool, files: Iterable[tuple[str, bytes]] = (), options: Sequence[str] = ()
) -> str:
    """Equal only where the toolchain's identity (judge/versions.py), the source, the check of types, the compiler's
    options (in which there is no NUL), and the name and content of each file beside the source are."""
    how = b"\0".join((b"checked" if check else b"unchecked", *(option.encode() for option in options)))
    parts = [identity, how, code]
    for name, content in files:
        parts += [name.encode(), content]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)  # of much of it others are let in meanwhile (hashlib)
    return digest.hexdigest()


class Artifacts:
    """At most `memory_bytes` in memory and `disk_bytes` below `directory`; 0 bytes in memory turns all off.

    A directory that cannot be used is told in the log, and artefacts are kept in memory only.
    """

    def __init__(self, memory_bytes: int, disk_bytes: int, directory: pathlib.Path | None) -> None:
        self._memory: cachetools.LRUCache[str, _Held] = cachetools.LRUCache(max(memory_bytes, 1), _size)
        self._keeps = memory_bytes > 0
        self._disk = _open(directory, disk_bytes) if self._keeps and disk_bytes and directory is not None else None
        self._writes: set[asyncio.Task[None]] = set()
        self.counts: collections.Counter[str] = collections.Counter()

    def __repr__(self) -> str:
        return f"<Artifacts: {len(self._memory)} in memory, {self._memory.currsize} bytes, {dict(self.counts)}>"

    @contextlib.contextmanager
    def in_memory(self, key: str) -> Iterator[int | None]:
        """A sealed memfd that stays open for the body, or None."""
        held = self._memory.get(key)
        if held is None:
            yield None
            return
        self.counts["memory"] += 1
        with held.lent() as descriptor:
            yield descriptor

    async def find(self, key: str) -> int | None:
        """A sealed memfd from the disk, the caller's to close, or None. It is in memory then, too."""
        descriptor = None if self._disk is None else await to_the_end(_read, self._disk, key, undo=_undo)
        self.counts["disk" if descriptor is not None else "missed"] += 1
        if descriptor is not None:
            self._hold(key, descriptor, os.fstat(descriptor).st_size)
        return descriptor

    def keep(self, key: str, descriptor: int) -> None:
        """Remember a sealed memfd; the caller's stays open. The disk is written behind the answer.

        What cannot be kept (no descriptor is left) is compiled again the next time.
        """
        if not self._keeps:
            return
        size = os.fstat(descriptor).st_size
        self._hold(key, descriptor, size)
        if self._disk is None or len(self._writes) >= WRITES_MAX:
            return
        try:
            lent = copy(descriptor)
        except OSError as error:
            log.warning("cannot keep an artefact on disk", reason=str(error))
            return
        task = asyncio.create_task(asyncio.to_thread(_write, self._disk, key, lent))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def _hold(self, key: str, descriptor: int, size: int) -> None:
        try:
            self._memory[key] = _Held(copy(descriptor), size)
        except ValueError:  # larger than all that may be kept
            return
        except OSError as error:
            log.warning("cannot keep an artefact in memory", reason=str(error))

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["Artifacts"]:
        """Itself; at the end all that was to be written is written, and the disk's index is closed."""
        try:
            yield self
        finally:
            await asyncio.gather(*self._writes, return_exceptions=True)
            if self._disk is not None:
                self._disk.close()


class _Disk(diskcache.Disk):  # type: ignore[misc]
    """A file that cannot be written whole is removed: the index does not know it, so nobody would evict it."""

    def __init__(self, directory: str, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self._last = threading.local()

    def filename(self, key: object = diskcache.UNKNOWN, value: object = diskcache.UNKNOWN) -> tuple[str, str]:
        name, self._last.path = super().filename(key, value)
        return name, self._last.path

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> object:
        try:
            return super().store(value, read, key)
        except OSError:
            pathlib.Path(self._last.path).unlink(missing_ok=True)
            raise


def _size(held: "_Held") -> int:
    """Each holds a descriptor too, and of those there are not as many as bytes."""
    return max(held.size, LEAST_BYTES)


class _Held:
    """A memfd that is closed when nobody has it any more: neither the cache nor a run."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self.size = descriptor, size

    @contextlib.contextmanager
    def lent(self) -> Iterator[int]:
        """The descriptor, which stays open for the body even when the cache drops it meanwhile."""
        yield self._descriptor  # the frame holds us

    def __del__(self) -> None:
        os.close(self._descriptor)


def _open(directory: pathlib.Path, size: int) -> diskcache.Cache | None:
    try:
        return diskcache.Cache(
            str(directory / "artifacts"), disk=_Disk, size_limit=size, eviction_policy="least-recently-used", **SETTINGS
        )
    except (OSError, sqlite3.Error) as error:
        log.warning("artefacts are kept in memory only", directory=str(directory), reason=str(error))
        return None


def _read(disk: diskcache.Cache, key: str) -> int | None:
    """A sealed memfd. Neither here nor in _write is an artefact as a whole in this process's own memory."""
    try:
        file = disk.get(key, read=True)
        if not isinstance(file, io.BufferedReader):
            return None
        with file:
            checksum = file.read(CHECKSUM_BYTES)
            descriptor = sealed_copy(file.fileno(), CHECKSUM_BYTES)
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        log.warning("cannot read an artefact", reason=str(error))
        return None
    if _checksum(descriptor) == checksum:
        return descriptor
    os.close(descriptor)
    return None


def _undo(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _write(disk: diskcache.Cache, key: str, descriptor: int) -> None:
    try:
        disk.set(key, _Content(descriptor), read=True)
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        log.warning("cannot keep an artefact on disk", reason=str(error))
    finally:
        os.close(descriptor)


class _Content:
    """What a file on the disk is to hold, in pieces: the checksum, then the bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._checksum, self._offset = descriptor, _checksum(descriptor), 0

    def read(self, size: int) -> bytes:
        piece, self._checksum = self._checksum, b""
        if not piece:
            piece = os.pread(self._descriptor, size, self._offset)
            self._offset += len(piece)
        return piece


def _checksum(descriptor: int) -> bytes:
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, PIECE_BYTES, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.digest()
