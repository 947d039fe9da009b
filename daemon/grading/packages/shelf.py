"""The directories and files of the store: what is atomic, what is locked, and what a crash leaves.

    lock                   flock(2): exclusive for whoever changes names below
    incoming/RANDOM/       being unpacked, or being removed; its owner holds an exclusive flock on it
    versions/SHA-256/      package/ (what was in the zip), problem.json, bytes; named by the hash of the zip
    problems/ID            which version the problem is: a JSON object
    form                   which form the descriptions have that are here

A version appears by rename(2) after all of it is on the disk (syncfs(2)); a problem appears or changes by rename, too.
Whoever uses a version holds a shared flock on its directory, which the kernel gives back when the process dies; only
who gets the exclusive one may remove it, and it leaves versions/ by a rename before it is removed. So after a crash
there is nothing but entries of incoming/ that nobody locks, and versions that no problem names: `sweep` removes both.
All functions block.
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator

INCOMING, VERSIONS, PROBLEMS, LOCK, FORM = "incoming", "versions", "problems", "lock", "form"
PACKAGE, DESCRIPTION, SIZE = "package", "problem.json", "bytes"
BLOCK_BYTES = 512  # of st_blocks, stat(2)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Incoming:
    """A directory below incoming/, and the descriptor that holds its lock: the maker's to remove and to close."""

    path: pathlib.Path
    lock: int


class Shelf:
    """The store's directory at `root`, made where it is missing. Raises OSError."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        for name in (INCOMING, VERSIONS, PROBLEMS):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Names change for nobody else meanwhile. What is done inside must be short."""
        descriptor = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def begin(self) -> Incoming:
        """An empty directory below incoming/."""
        with self.locked():
            path = self.root / INCOMING / secrets.token_hex(16)
            path.mkdir(mode=0o700)
            descriptor = os.open(path, _FOLDER)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            (path / PACKAGE).mkdir(mode=0o755)
        return Incoming(path, descriptor)

    def settle(self, incoming: pathlib.Path, description: bytes) -> int:
        """Puts a description beside the package and all of it on the disk; returns the bytes that it takes there."""
        size = disk_bytes(incoming)
        _write(incoming / DESCRIPTION, description)
        _write(incoming / SIZE, b"%d" % size)
        _sync_filesystem(incoming)
        return size

    def finish(self, incoming: Incoming, version: str) -> None:
        """Makes what is settled a version, durably, unless there is such a version already. The lock is held.

        The exclusive lock of `begin` becomes a shared one: others may hold the version from the moment it is there.
        """
        target = self.root / VERSIONS / version
        if target.is_dir():
            return
        fcntl.flock(incoming.lock, fcntl.LOCK_SH)
        os.rename(incoming.path, target)
        _sync(self.root / VERSIONS)

    def name(self, problem: str, version: str, stored_at: float) -> None:
        """Makes `problem` this version, durably. The lock is held."""
        text = json.dumps({"version": version, "stored_at": stored_at}).encode()
        self._replace(self.root / PROBLEMS / problem, text)

    def _replace(self, path: pathlib.Path, content: bytes) -> None:
        """Makes it the file's content, durably: all of it or what was there before. The lock is held."""
        temporary = self.root / INCOMING / f"{secrets.token_hex(16)}.file"
        _write(temporary, content)
        _sync(temporary)
        os.rename(temporary, path)
        _sync(path.parent)

    def forget(self, problem: str) -> bool:
        """False where there is no such problem. The lock is held."""
        try:
            os.unlink(self.root / PROBLEMS / problem)
        except FileNotFoundError:
            return False
        _sync(self.root / PROBLEMS)
        return True

    def named(self, problem: str) -> tuple[str, float] | None:
        """The problem's version and when it was stored (seconds since 1970), or None."""
        try:
            content = json.loads((self.root / PROBLEMS / problem).read_bytes())
        except FileNotFoundError:
            return None
        return str(content["version"]), float(content["stored_at"])

    def problems(self) -> list[str]:
        """Their ids, sorted."""
        return sorted(os.listdir(self.root / PROBLEMS))

    def description(self, version: str) -> bytes | None:
        """What `finish` was given, or None where the version is gone."""
        try:
            return (self.root / VERSIONS / version / DESCRIPTION).read_bytes()
        except FileNotFoundError:
            return None

    def describe(self, version: str, description: bytes) -> None:
        """Replaces the description of a version, which somebody holds."""
        with self.locked():
            self._replace(self.root / VERSIONS / version / DESCRIPTION, description)

    def versions(self) -> list[str]:
        """All of them, sorted."""
        return sorted(os.listdir(self.root / VERSIONS))

    def form(self) -> str | None:
        """What `set_form` was given last."""
        try:
            return (self.root / FORM).read_text()
        except FileNotFoundError:
            return None

    def set_form(self, form: str) -> None:
        """Tells later processes which form all the descriptions have."""
        with self.locked():
            self._replace(self.root / FORM, form.encode())

    def size(self, version: str) -> int:
        """Bytes on the disk; 0 where the version is gone."""
        try:
            return int((self.root / VERSIONS / version / SIZE).read_bytes())
        except FileNotFoundError:
            return 0

    def total(self) -> int:
        """Bytes on the disk of all versions, held old ones too."""
        return sum(self.size(version) for version in self.versions())

    def hold(self, version: str) -> int | None:
        """A descriptor of the version's directory, which stays while that is open; None where the version is gone."""
        path = self.root / VERSIONS / version
        try:
            descriptor = os.open(path, _FOLDER)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass  # it is being removed
        os.close(descriptor)
        return None

    def collect(self) -> None:
        """Removes versions that no problem names and nobody holds."""
        with self.locked(), contextlib.ExitStack() as locks:
            used = {found[0] for problem in self.problems() if (found := self.named(problem)) is not None}
            doomed = []
            for version in set(os.listdir(self.root / VERSIONS)) - used:
                path = self.root / VERSIONS / version
                if self._locked_now(path, locks):
                    doomed.append(self.root / INCOMING / secrets.token_hex(16))
                    os.rename(path, doomed[-1])
            kept = locks.pop_all()
        with kept:
            for path in doomed:
                shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what a crash left, and what `collect` does."""
        with self.locked(), contextlib.ExitStack() as locks:
            for path in (self.root / INCOMING).iterdir():
                if not path.is_dir():
                    path.unlink()
                elif self._locked_now(path, locks):
                    shutil.rmtree(path, ignore_errors=True)
        self.collect()

    def _locked_now(self, path: pathlib.Path, locks: contextlib.ExitStack) -> bool:
        """Gets the exclusive lock of a directory until `locks` end, or False."""
        descriptor = os.open(path, _FOLDER)
        locks.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def disk_bytes(folder: pathlib.Path) -> int:
    """What a folder takes on the disk, its folders included."""
    total = 0
    for _, folders, files, descriptor in os.fwalk(folder):
        for name in (*folders, *files):
            total += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * BLOCK_BYTES
    return total


def _write(path: pathlib.Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_filesystem(path: pathlib.Path) -> None:
    """syncfs(2): one call for thousands of files."""
    descriptor = os.open(path, _FOLDER)
    try:
        if _libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(descriptor)
