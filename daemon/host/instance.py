"""One keeper among several on a host: its name, locks, run directory, slice of host uids and sweep record.

The protocol of the locks (flock(2), empty files in /run/cellblock/locks and /run/cellblock/slices):

NAME           held by the keeper of this name while it lives, and by whoever sweeps what an earlier one left.
NAME.starter   held by whoever starts keepers of this name (supervisor, `cellblock run`) from before the first start
               until the last sweep, so that two of them never prepare or sweep the same run directory.
slices/UID     held by the keeper whose jails have the SLICE_UIDS host uids from UID on, a multiple of SLICE_UIDS: so
               two slices are the same or have no uid in common, whatever each keeper's settings say.

A lock is only tried, never waited for, and its file is never unlinked: whoever opens it locks the file that everybody
else locks. Names are few: one for each name that was ever configured, and RUN_SLOTS for `cellblock run`.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import stat
from collections.abc import Iterator

from daemon.sandbox.errors import OurFault

from . import cgroup

RUN_DIRECTORY = "/run/cellblock"
LOCKS, SLICE_LOCKS = "locks", "slices"  # below it
UIDS_PER_WARDEN = 65536
WARDENS_PER_SLICE = 64  # 64 slices of 64 wardens of 65536 ids: all from 1879048192 to the last
SLICES = 64
SLICE_UIDS = UIDS_PER_WARDEN * WARDENS_PER_SLICE
LAST_UID = (1 << 31) - 1
RUN_PREFIX, RUN_SLOTS = "run-", SLICES  # more keepers than slices there cannot be
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def socket_path(name: str) -> pathlib.Path:
    """Where the keeper of this instance listens."""
    return pathlib.Path(RUN_DIRECTORY, name, "keeper.sock")


class Busy(OurFault):
    """Another live process holds the name, the slice of host uids or the slot that is needed."""


def check_name(name: str) -> str:
    """The name itself, when an administrator may give it to a keeper. Raises ValueError that says what is allowed."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not 1 to 41 lower case letters, digits and hyphens, no hyphen first")
    if name in (LOCKS, SLICE_LOCKS) or name.startswith(RUN_PREFIX):
        raise ValueError(f"{name!r} is a name that cellblock uses itself")
    return name


def check_first_uid(first_uid: int) -> int:
    """The host uid itself, when slices may begin there. Raises ValueError that says what is allowed."""
    if first_uid % SLICE_UIDS != 0 or not SLICE_UIDS <= first_uid <= LAST_UID:
        raise ValueError(f"{first_uid} is no multiple of {SLICE_UIDS} from {SLICE_UIDS} to {LAST_UID}")
    return first_uid


def wardens_of_each(toolchains: int) -> int:
    """How many wardens each of so many toolchains may have, at least 1: one more lives while an old one is replaced."""
    return max(1, WARDENS_PER_SLICE // toolchains - 1)


class Instance:
    """Held for the life of the keeper.

    Raises Busy when a live keeper has the same name or no slice is free, ValueError on a bad name or first uid.
    """

    def __init__(self, name: str, first_uid: int) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"instance name {name!r}: lower case letters, digits and hyphens only")
        check_first_uid(first_uid)
        self.name = name
        self.directory = f"{RUN_DIRECTORY}/{name}"
        self._lock = _lock(LOCKS, name)
        if self._lock is None:
            raise Busy(f"a keeper of the instance {name!r} is already running")
        own_directory(self.directory)
        self._record = f"{self.directory}/groups.json"
        self._slice, self._slice_lock = self._take_slice(first_uid)
        self._free_slots = list(range(WARDENS_PER_SLICE))

    def _take_slice(self, first_uid: int) -> tuple[int, int]:
        for number in range(SLICES):
            base = first_uid + number * SLICE_UIDS
            if base + SLICE_UIDS - 1 > LAST_UID:
                break
            lock = _lock(SLICE_LOCKS, str(base))
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
        """Note the groups for whoever sweeps after this keeper; replaces what was noted before."""
        descriptor = os.open(self._record + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(paths, file)
        os.replace(self._record + ".new", self._record)


def hold(name: str) -> int:
    """Be the one who starts keepers of this name: a descriptor that holds the right to it until it is closed.

    It is inherited by nobody unless the caller says so. Raises Busy while somebody else has it.
    """
    lock = _lock(LOCKS, f"{name}.starter")
    if lock is None:
        raise Busy(f"a cellblock with the instance {name!r} is running")
    return lock


def clean_up(name: str) -> list[str]:
    """Sweep what a keeper that is gone left: its groups and its run directory.

    Returns the paths of groups that could not be removed; then the directory stays, with the record of them. For
    whoever holds the name, because the keeper gives up the capability to remove its top group. Raises Busy when a
    keeper of this name is alive.
    """
    lock = _lock(LOCKS, name)
    if lock is None:
        raise Busy(f"a keeper of the instance {name!r} is running")
    try:
        directory = f"{RUN_DIRECTORY}/{name}"
        if not os.path.isdir(directory):
            return []
        stuck = cgroup.sweep(_read_record(f"{directory}/groups.json"))
        if not stuck:
            for file in os.listdir(directory):
                os.unlink(f"{directory}/{file}")
            os.rmdir(directory)
        return stuck
    finally:
        os.close(lock)


@contextlib.contextmanager
def run_slot() -> Iterator[str]:
    """A name for a keeper that lives for a run or two, swept before and after; at most RUN_SLOTS are held at once.

    What killed holders of other slots left is swept first. Raises Busy when all slots are held.
    """
    for name in sorted(os.listdir(RUN_DIRECTORY)) if os.path.isdir(RUN_DIRECTORY) else []:
        if name.startswith(RUN_PREFIX) and (lock := _hold_swept(name)) is not None:
            os.close(lock)
    for number in range(RUN_SLOTS):
        name = f"{RUN_PREFIX}{number}"
        if (lock := _hold_swept(name)) is not None:
            break
    else:
        raise Busy(f"{RUN_SLOTS} programs run already, each with a keeper of its own")
    try:
        yield name
    finally:
        try:
            clean_up(name)
        finally:
            os.close(lock)


def _hold_swept(name: str) -> int | None:
    """`hold` a name of which nothing is left; None while somebody or something is still there."""
    try:
        lock = hold(name)
    except Busy:
        return None
    try:
        stuck = clean_up(name)
    except Busy:  # the keeper of a killed holder is about to end
        stuck = [name]
    if stuck:
        os.close(lock)
        return None
    return lock


def _read_record(path: str) -> list[str]:
    try:
        with open(path) as file:
            return [str(group) for group in json.load(file)]
    except (FileNotFoundError, ValueError):
        return []


def own_directory(directory: str) -> None:
    """Root's own directory, passable for others whatever the umask is: the mode of what is in it says who may more.

    Raises Busy where one is there that somebody else owns or may write to.
    """
    try:
        os.mkdir(directory, 0o700)
        os.chmod(directory, 0o711)
    except FileExistsError:
        status = os.lstat(directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise Busy(f"{directory} is there and is no directory that is ours alone") from None


def _lock(folder: str, name: str) -> int | None:
    """A descriptor that holds the lock until it is closed, or None when somebody else does. The file stays for good."""
    own_directory(RUN_DIRECTORY)
    own_directory(f"{RUN_DIRECTORY}/{folder}")
    path = f"{RUN_DIRECTORY}/{folder}/{name}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
