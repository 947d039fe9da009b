"""Whether a descriptor from outside is what it must be: a plain file from a jail, a sealed memfd from the HTTP side."""

import fcntl
import os
import stat

from daemon.sandbox.model import ARTIFACT_SEALS, MAX_ARTIFACT_BYTES


def accept(descriptor: int) -> int | None:
    """A copy of the descriptor if it is a regular file of acceptable size; nothing from a jail is opened by path."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ARTIFACT_BYTES:
        return None
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def is_sealed(descriptor: int) -> bool:
    """True for a memfd that nobody can change any more (fcntl(2), F_GET_SEALS)."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & ARTIFACT_SEALS == ARTIFACT_SEALS
    except OSError:
        return False  # not a memfd
