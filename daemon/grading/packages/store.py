"""Keeps problem packages by the hash of their zip; a grading under way keeps its version whatever becomes of the id.

Several HTTP processes may share the directory (shelf.py says how). The hash is of the zip as it was uploaded, and not
of what the reading process wrote, so that no package can pass itself off as another.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import cachetools

from . import shelf
from .problem import Problem
from .reading import ReadingLimits, from_json, open_beneath, read_package, to_json
from .refusal import BadProblemId, CannotRead, NoSuchProblem, PackageTooLarge, StoreFull
from .shelf import Incoming, Shelf

_T = TypeVar("_T")
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
HASH_CHUNK = 1 << 20
REMEMBERED = 64  # descriptions in memory
TRIES = 16  # a version may be replaced while it is looked up


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A problem in the store. `version` is the SHA-256 of its zip in hexadecimal; `stored_at` is in seconds since 1970;
    `disk_bytes` is what it takes unpacked."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int
    problem: Problem


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A version that stays until the block ends."""

    stored: Stored
    directory: int

    def open(self, path: str) -> int:
        """A descriptor for reading a file or folder of the package, by a path of `stored.problem`.

        The caller closes it. Raises CannotRead. It blocks for as long as the disk does.
        """
        parts = [shelf.PACKAGE, self.stored.problem.folder, path]
        return open_beneath(self.directory, "/".join(part for part in parts if part))


class Store:
    """`root` is made where it is missing; at most `problems_max` problems and `disk_bytes_max` bytes, unpacked.

    Replaced versions that gradings still hold count among the bytes.
    """

    def __init__(self, root: pathlib.Path, problems_max: int, disk_bytes_max: int, limits: ReadingLimits) -> None:
        self._root, self._problems_max, self._disk_bytes_max = root, problems_max, disk_bytes_max
        self._limits = limits
        self._known: cachetools.LRUCache[str, Problem] = cachetools.LRUCache(REMEMBERED)
        self._remembering = threading.Lock()  # descriptions are read in several threads
        self._opened: Shelf | None = None

    def __repr__(self) -> str:
        return f"<Store {self._root}: {len(self._known)} in memory>"

    async def start(self) -> None:
        """Sweeps what a crash left. Raises CannotRead when the directory cannot be used."""
        try:
            self._opened = await asyncio.to_thread(Shelf, self._root)
            await asyncio.to_thread(self._opened.sweep)
        except OSError as error:
            raise CannotRead(f"problems: {self._root}: {error.strerror}") from error

    async def put(self, problem: str, archive: int) -> Stored:
        """Stores the zip `archive`, a descriptor that stays open and that nobody writes to any more, as `problem`.

        Replaces what was there, only when all of the new is on the disk. Raises BadProblemId, PackageRefused,
        StoreFull, CannotRead; then nothing has changed.
        """
        self._check(problem)
        kept = self._shelf
        try:
            version = await asyncio.to_thread(_hash, archive)
            known = await _to_the_end(kept.hold, version, undo=_close)
            if known is not None:  # the same zip is here already
                try:
                    await _to_the_end(self._commit, problem, version, None)
                finally:
                    os.close(known)
            else:
                await self._unpack(problem, version, archive)
        except OSError as error:
            raise CannotRead(f"problems: {error.strerror}") from error
        return await self.get(problem)

    async def _unpack(self, problem: str, version: str, archive: int) -> None:
        incoming = await _to_the_end(self._shelf.begin, undo=_remove)
        try:
            free = self._disk_bytes_max - await asyncio.to_thread(self._shelf.total)
            bounds = self._limits.archive
            bounds = dataclasses.replace(bounds, total_bytes_max=max(0, min(bounds.total_bytes_max, free)))
            directory = os.open(incoming.path / shelf.PACKAGE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found = await read_package(archive, directory, dataclasses.replace(self._limits, archive=bounds))
            except PackageTooLarge as error:
                if free < self._limits.archive.total_bytes_max:
                    raise StoreFull(f"the store of problems has {max(0, free)} bytes left") from error
                raise
            finally:
                os.close(directory)
            await _to_the_end(self._commit, problem, version, (incoming, found))
        finally:
            await _to_the_end(_remove, incoming)

    def _commit(self, problem: str, version: str, new: tuple[Incoming, Problem] | None) -> None:
        """Makes `new` the version, where there is none yet, and the version the problem's."""
        kept = self._shelf
        size = 0 if new is None else kept.settle(new[0].path, to_json(new[1]))
        with kept.locked():
            ids = kept.problems()
            if problem not in ids and len(ids) >= self._problems_max:
                raise StoreFull(f"the store holds {self._problems_max} problems, which is all that it may")
            if new is not None:
                if kept.total() + size > self._disk_bytes_max:
                    raise StoreFull(f"the store of problems may take {self._disk_bytes_max} bytes of the disk")
                kept.finish(new[0], version)
            kept.name(problem, version, time.time())
        kept.collect()

    async def get(self, problem: str) -> Stored:
        """Raises BadProblemId, NoSuchProblem, CannotRead."""
        self._check(problem)
        return await asyncio.to_thread(self._get, problem)

    def _get(self, problem: str) -> Stored:
        for _ in range(TRIES):
            named = self._shelf.named(problem)
            if named is None:
                raise NoSuchProblem(f"there is no problem {problem}")
            version, stored_at = named
            description = self._describe(version)
            if description is not None:
                return Stored(problem, version, stored_at, self._shelf.size(version), description)
        raise CannotRead(f"problem {problem} has no version on the disk")

    def _describe(self, version: str) -> Problem | None:
        with self._remembering:
            known = self._known.get(version)
        if known is None:
            text = self._shelf.description(version)
            if text is None:
                return None
            try:
                known = from_json(text)
            except ValueError as error:  # another release wrote it
                raise CannotRead(
                    "a description of a problem is not as this release writes it; store it again"
                ) from error
            with self._remembering:
                self._known[version] = known
        return known

    async def list(self) -> tuple[Stored, ...]:
        """All problems, sorted by id. Raises CannotRead."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> tuple[Stored, ...]:
        found: list[Stored] = []
        for problem in self._shelf.problems():
            with contextlib.suppress(NoSuchProblem):  # deleted meanwhile
                found.append(self._get(problem))
        return tuple(found)

    async def delete(self, problem: str) -> None:
        """The id is gone at once, the files when no grading holds them. Raises BadProblemId, NoSuchProblem."""
        self._check(problem)
        if not await _to_the_end(self._delete, problem):
            raise NoSuchProblem(f"there is no problem {problem}")

    def _delete(self, problem: str) -> bool:
        with self._shelf.locked():
            existed = self._shelf.forget(problem)
        self._shelf.collect()
        return existed

    @contextlib.asynccontextmanager
    async def hold(self, problem: str) -> AsyncIterator[Held]:
        """The version that the problem has now, for as long as the block lasts; the last to leave removes an old one.

        Raises BadProblemId, NoSuchProblem, CannotRead.
        """
        self._check(problem)
        held = await _to_the_end(self._hold, problem, undo=self._release)
        try:
            yield held
        finally:
            await _to_the_end(self._release, held)

    def _hold(self, problem: str) -> Held:
        for _ in range(TRIES):
            stored = self._get(problem)
            directory = self._shelf.hold(stored.version)
            if directory is not None:
                return Held(stored, directory)
        raise CannotRead(f"problem {problem} has no version on the disk")

    def _release(self, held: Held) -> None:
        os.close(held.directory)
        named = self._shelf.named(held.stored.id)
        if named is None or named[0] != held.stored.version:
            self._shelf.collect()

    @property
    def _shelf(self) -> Shelf:
        if self._opened is None:
            raise CannotRead("the store of problems has not been started")
        return self._opened

    @staticmethod
    def _check(problem: str) -> None:
        if not ID.fullmatch(problem):
            raise BadProblemId("a problem's id is 1 to 64 of a-z, 0-9, _ and -, a letter or a digit first")


def _hash(archive: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(archive, HASH_CHUNK, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _remove(incoming: Incoming) -> None:
    """What was not made a version; the lock ends after that, so that no sweep comes between."""
    shutil.rmtree(incoming.path, ignore_errors=True)
    os.close(incoming.lock)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


async def _to_the_end(function: Callable[..., _T], *arguments: Any, undo: Callable[[_T], object] | None = None) -> _T:
    """Runs it in a thread. Cancelled, it waits until the thread has come to its end and undoes what it did."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if undo is not None and task.exception() is None:
        undo(task.result())
    raise cancelled
