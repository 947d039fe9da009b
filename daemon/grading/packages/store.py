"""Keeps problem packages by the hash of their zip; a grading under way keeps its version whatever becomes of the id.

Several HTTP processes may share the directory (shelf.py says how). The hash is of the zip as it was uploaded, and not
of what the reading process wrote, so that no package can pass itself off as another.
"""

import asyncio
import contextlib
import dataclasses
import errno
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import IO

import cachetools

from daemon.sandbox.threads import to_the_end

from . import shelf
from .description import Description, from_json, to_json
from .problem import Problem
from .reading import Package, ReadingLimits, open_beneath, read_package
from .refusal import BadProblemId, CannotRead, NoSuchProblem, PackageTooLarge, StoreFull
from .renewal import renew
from .shelf import Incoming, Shelf
from .time_limit import TimeLimit

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
HASH_CHUNK = 1 << 20
REMEMBERED_BYTES = 32 << 20  # of descriptions in memory, as their files have them
TRIES = 16  # a version may be replaced while it is looked up
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)

Timed = Callable[[Package], Awaitable[TimeLimit]]


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A problem in the store. `version` is the SHA-256 of its zip in hexadecimal; `stored_at` is in seconds since 1970;
    `disk_bytes` is what it takes unpacked."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int
    problem: Problem
    time_limit: TimeLimit


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """What a list tells of a problem, in the words of Stored."""

    id: str
    version: str
    stored_at: float
    disk_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Put:
    """What became of `put`. `is_new`: there was no problem of this id."""

    stored: Stored
    is_new: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    description: Description
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A version that stays until the block ends."""

    stored: Stored
    directory: int

    def open(self, path: str) -> int:
        """As Package.open."""
        parts = [shelf.PACKAGE, self.stored.problem.folder, path]
        return open_beneath(self.directory, "/".join(part for part in parts if part))


class Store:
    """`root` is made where it is missing; at most `problems_max` problems and `disk_bytes_max` bytes, unpacked.

    Replaced versions that gradings still hold count among the bytes.
    """

    def __init__(self, root: pathlib.Path, problems_max: int, disk_bytes_max: int, limits: ReadingLimits) -> None:
        self._root, self._problems_max, self._disk_bytes_max = root, problems_max, disk_bytes_max
        self._limits = limits
        self._known: cachetools.LRUCache[str, _Known] = cachetools.LRUCache(REMEMBERED_BYTES, lambda known: known.size)
        self._remembering = threading.Lock()  # descriptions are read in several threads
        self._opened: Shelf | None = None

    def __repr__(self) -> str:
        return f"<Store {self._root}: {len(self._known)} in memory>"

    async def start(self) -> None:
        """Sweeps what a crash left, and renews what another release wrote. Raises CannotRead when the directory cannot
        be used."""
        try:
            self._opened = await asyncio.to_thread(Shelf, self._root)
            await asyncio.to_thread(self._opened.sweep)
            await renew(self._opened, self._limits)
        except OSError as error:
            raise CannotRead(f"problems: {self._root}: {error.strerror}") from error

    def scratch(self) -> IO[bytes]:
        """A new file without a name on the store's disk, for an archive that comes. Raises StoreFull, CannotRead."""
        with disk_errors():
            return tempfile.TemporaryFile(dir=self._shelf.root, buffering=0)

    async def put(self, problem: str, archive: int, timed: Timed) -> Put:
        """Stores the zip `archive`, a descriptor that stays open and that nobody writes to any more, as `problem`.

        `timed` is asked for the time limit of a package that is not here yet. What was there is replaced only when all
        of the new is on the disk. Raises BadProblemId, PackageRefused, StoreFull, CannotRead, and what `timed` raises;
        then nothing has changed.
        """
        check_id(problem)
        kept = self._shelf
        with disk_errors():
            version = await to_the_end(_hash, archive)
            held = await to_the_end(kept.hold, version, undo=_close)
            if held is None:
                return await self._unpack(problem, version, archive, timed)
            try:  # the same zip is here already
                description = await asyncio.to_thread(self._describe, version)
                assert description is not None, "a version that is held stays"
                return await to_the_end(self._commit, problem, version, description, None)
            finally:
                await to_the_end(self._let_go, held, problem, version)

    async def _unpack(self, problem: str, version: str, archive: int, timed: Timed) -> Put:
        incoming = await to_the_end(self._shelf.begin, undo=_remove)
        try:
            free = self._disk_bytes_max - await asyncio.to_thread(self._shelf.total)
            bounds = self._limits.archive
            bounds = dataclasses.replace(bounds, total_bytes_max=max(0, min(bounds.total_bytes_max, free)))
            directory = os.open(incoming.path / shelf.PACKAGE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found = await read_package(archive, directory, dataclasses.replace(self._limits, archive=bounds))
                description = Description(found, await timed(Package(found, directory)))
            except PackageTooLarge as error:
                if free < self._limits.archive.total_bytes_max:
                    raise StoreFull(f"the store of problems has {max(0, free)} bytes left") from error
                raise
            finally:
                os.close(directory)
            return await to_the_end(self._commit, problem, version, description, incoming)
        finally:
            await to_the_end(self._drop, incoming, problem, version)

    def _commit(self, problem: str, version: str, description: Description, new: Incoming | None) -> Put:
        """Makes `new` the version, where there is none yet, and the version the problem's."""
        kept = self._shelf
        size = 0 if new is None else kept.settle(new.path, to_json(description))
        with kept.locked():
            ids = kept.problems()
            is_new = problem not in ids
            if is_new and len(ids) >= self._problems_max:
                raise StoreFull(f"the store holds {self._problems_max} problems, which is all that it may")
            if new is not None:
                if kept.total() + size > self._disk_bytes_max:
                    raise StoreFull(f"the store of problems may take {self._disk_bytes_max} bytes of the disk")
                kept.finish(new, version)
            stored_at = time.time()
            kept.name(problem, version, stored_at)
            size = kept.size(version)
        kept.collect()
        description = self._describe(version) or description  # another process may have been first with this zip
        return Put(Stored(problem, version, stored_at, size, description.problem, description.time_limit), is_new)

    async def get(self, problem: str) -> Stored:
        """Raises BadProblemId, NoSuchProblem, CannotRead."""
        check_id(problem)
        with disk_errors():
            return await asyncio.to_thread(self._get, problem)

    def _get(self, problem: str) -> Stored:
        for _ in range(TRIES):
            named = self._shelf.named(problem)
            if named is None:
                raise NoSuchProblem(f"there is no problem {problem}")
            version, stored_at = named
            description = self._describe(version)
            if description is not None:
                size = self._shelf.size(version)
                return Stored(problem, version, stored_at, size, description.problem, description.time_limit)
        raise CannotRead(f"problem {problem} has no version on the disk")

    def _describe(self, version: str) -> Description | None:
        with self._remembering:
            known = self._known.get(version)
        if known is None:
            text = self._shelf.description(version)
            if text is None:
                return None
            try:
                known = _Known(from_json(text), len(text))
            except ValueError as error:  # another release wrote it
                raise CannotRead(
                    "a description of a problem is not as this release writes it; delete it and store it again"
                ) from error
            with self._remembering:
                self._known[version] = known
        return known.description

    async def list(self) -> tuple[Listed, ...]:
        """All problems, sorted by id. Raises CannotRead."""
        with disk_errors():
            return await asyncio.to_thread(self._list)

    def _list(self) -> tuple[Listed, ...]:
        kept = self._shelf
        named = ((problem, kept.named(problem)) for problem in kept.problems())
        return tuple(Listed(problem, *one, kept.size(one[0])) for problem, one in named if one is not None)

    async def delete(self, problem: str) -> None:
        """The id is gone at once, the files when no grading holds them. Raises BadProblemId, NoSuchProblem."""
        check_id(problem)
        with disk_errors():
            if not await to_the_end(self._delete, problem):
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
        check_id(problem)
        with disk_errors():
            held = await to_the_end(self._hold, problem, undo=self._release)
        try:
            yield held
        finally:
            await to_the_end(self._release, held)

    def _hold(self, problem: str) -> Held:
        for _ in range(TRIES):
            stored = self._get(problem)
            directory = self._shelf.hold(stored.version)
            if directory is not None:
                return Held(stored, directory)
        raise CannotRead(f"problem {problem} has no version on the disk")

    def _release(self, held: Held) -> None:
        self._let_go(held.directory, held.stored.id, held.stored.version)

    def _drop(self, incoming: Incoming, problem: str, version: str) -> None:
        """What did not become a version is removed; the lock ends after that, so that no sweep comes between."""
        shutil.rmtree(incoming.path, ignore_errors=True)
        self._let_go(incoming.lock, problem, version)

    def _let_go(self, lock: int, problem: str, version: str) -> None:
        """Close a version's lock. Where its problem is another version by now, nobody else could remove this one."""
        os.close(lock)
        named = self._shelf.named(problem)
        if named is None or named[0] != version:
            self._shelf.collect()

    @property
    def _shelf(self) -> Shelf:
        if self._opened is None:
            raise CannotRead("the store of problems has not been started")
        return self._opened


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """What the disk says, as an error of ours. Raises StoreFull, CannotRead."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_IS_FULL:
            raise StoreFull("the disk of the store of problems is full") from error
        raise CannotRead(f"problems: {error.strerror}") from error


def check_id(problem: str) -> None:
    """Raises BadProblemId."""
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
    """What nobody has seen; the lock ends after that, so that no sweep comes between."""
    shutil.rmtree(incoming.path, ignore_errors=True)
    os.close(incoming.lock)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
