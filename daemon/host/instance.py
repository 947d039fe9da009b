"""One keeper among several on a host: its name, lock, run directory, slice of host uids and sweep record."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import stat
from collections.abc import Iterator

from . import cgroup

RUN_DIRECTORY = "/run/cellblock"
UIDS_PER_WARDEN = 65536
WARDENS_PER_SLICE = 64  # 64 slices of 64 wardens of 65536 ids: all from 1879048192 to the last
SLICES = 64
LAST_UID = (1 << 31) - 1
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def socket_path(name: str) -> pathlib.Path:
    """Where the keeper of this instance listens."""
    return pathlib.Path(RUN_DIRECTORY, name, "keeper.sock")


class Busy(Exception):
    """Another live keeper holds what we need."""


class Instance:
    """Held for the life of the keeper. Raises Busy when a live keeper has the same name, ValueError on a bad name."""

    def __init__(self, name: str, first_uid: int) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"instance name {name!r}: lower case letters, digits and hyphens only")
        self.name = name
        self.directory = f"{RUN_DIRECTORY}/{name}"
        _make_private(RUN_DIRECTORY)
        _make_private(self.directory)
        self._lock = _lock(f"{self.directory}/lock")
        if self._lock is None:
            raise Busy(f"a keeper of the instance {name!r} is already running")
        self._record = f"{self.directory}/groups.json"
        self._slice, self._slice_lock = self._take_slice(first_uid)
        self._free_slots = list(range(WARDENS_PER_SLICE))

    def _take_slice(self, first_uid: int) -> tuple[int, int]:
        size = UIDS_PER_WARDEN * WARDENS_PER_SLICE
        _make_private(f"{RUN_DIRECTORY}/slices")
        for number in range(SLICES):
            base = first_uid + number * size
            if base + size - 1 > LAST_UID:
                break
            lock = _lock(f"{RUN_DIRECTORY}/slices/{base}")
            if lock is not None:
                return base, lock
        raise Busy("every slice of host uids is taken by a running keeper")

    @contextlib.contextmanager
    def slot(self) -> Iterator[int]:
        """For one warden: its slice of host uids, kept unless the body fails. Raises OSError when all are taken."""
        if not self._free_slots:
            raise OSError(f"at most {WARDENS_PER_SLICE} wardens per keeper: each has its own slice of host uids")
        slot = self._free_slots.pop(0)
        try:
            yield slot
        except BaseException:
            self.give_slot(slot)
            raise

    def give_slot(self, slot: int) -> None:
        """All of the warden is gone."""
        self._free_slots.append(slot)

    def uid_base(self, slot: int) -> int:
        """The host uid that is root inside the warden's user namespace."""
        return self._slice + UIDS_PER_WARDEN * slot

    def leftovers(self) -> list[str]:
        """Groups recorded by the last keeper of this name."""
        return _read_record(self._record)

    def record(self, paths: list[str]) -> None:
        with open(self._record + ".new", "w") as file:
            json.dump(paths, file)
        os.replace(self._record + ".new", self._record)


def clean_up(name: str) -> list[str]:
    """Sweep what a keeper that is gone left: its groups (the paths that could not be removed) and its run directory.

    For whoever started it, because the keeper gives up the capability to remove its top group. Raises Busy when a
    keeper of this name is alive.
    """
    directory = f"{RUN_DIRECTORY}/{name}"
    if not os.path.isdir(directory):
        return []
    lock = _lock(f"{directory}/lock")
    if lock is None:
        raise Busy(f"a keeper of the instance {name!r} is running")
    try:
        stuck = cgroup.sweep(_read_record(f"{directory}/groups.json"))
        if not stuck:
            for file in os.listdir(directory):
                os.unlink(f"{directory}/{file}")
            os.rmdir(directory)
        return stuck
    finally:
        os.close(lock)


def abandoned(prefix: str) -> list[str]:
    """Names of instances beginning with `prefix` whose keeper is gone."""
    names = []
    for name in sorted(os.listdir(RUN_DIRECTORY)) if os.path.isdir(RUN_DIRECTORY) else []:
        if name.startswith(prefix) and os.path.exists(f"{RUN_DIRECTORY}/{name}/lock"):
            lock = _lock(f"{RUN_DIRECTORY}/{name}/lock")
            if lock is not None:
                os.close(lock)
                names.append(name)
    return names


def _read_record(path: str) -> list[str]:
    try:
        with open(path) as file:
            return [str(group) for group in json.load(file)]
    except (FileNotFoundError, ValueError):
        return []


def _make_private(directory: str) -> None:
    """Root's own directory, passable for others (the socket's own mode decides who connects)."""
    try:
        os.mkdir(directory, 0o711)
    except FileExistsError:
        status = os.lstat(directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise Busy(f"{directory} exists and is not ours") from None


def _lock(path: str) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
