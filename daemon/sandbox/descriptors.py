"""Descriptors of this process: memfds, sealed copies, duplicates, closing. Every one is close-on-exec."""

import errno
import fcntl
import os
from collections.abc import Iterable

ARTIFACT_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
COPY_BYTES = 1 << 20
_FIRST = 3  # 0, 1 and 2 are the standard streams
_READ_ONLY_MODE = 0o444


def memfd(name: str, content: bytes, sealed: bool = False) -> int:
    """A memfd (memfd_create(2)) that holds `content` and is read from its start; the caller closes it.

    `sealed`: as by `seal`. Raises OSError, with nothing left open.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view, offset = memoryview(content), 0
        while offset < len(view):
            offset += os.pwrite(descriptor, view[offset:], offset)
        if sealed:
            seal(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def seal(descriptor: int) -> None:
    """Nobody can change the memfd any more (fcntl(2), file sealing). Raises OSError.

    Nor can a jail that reads it open it for writing, which would let it set times and have the pages written to swap.
    """
    os.fchmod(descriptor, _READ_ONLY_MODE)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, ARTIFACT_SEALS)


def reopened(descriptor: int) -> int:
    """The same file, opened anew and for reading alone: with an offset and flags that nobody shares. Raises OSError."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def sealed_copy(source: int, offset: int = 0, size: int | None = None, name: str = "artifact") -> int:
    """A sealed memfd with the content of a regular file, which it does not close, or a part of it. Raises OSError."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if size is not None:
            send_all(descriptor, source, size, offset)
        while size is None and (sent := os.sendfile(descriptor, source, offset, COPY_BYTES)):
            offset += sent
        seal(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """At the descriptor's own offset, until all is written. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def send_all(descriptor: int, source: int, size: int, offset: int = 0) -> None:
    """`size` bytes of a file, from `offset` on, without a copy in this process (sendfile(2)).

    Raises OSError, also where there are fewer.
    """
    end = offset + size
    while offset < end:
        sent = os.sendfile(descriptor, source, offset, min(COPY_BYTES, end - offset))
        if not sent:
            raise OSError(errno.EINVAL, "a file is shorter than it was")
        offset += sent


def is_sealed(descriptor: int) -> bool:
    """True for a memfd that nobody can change any more (fcntl(2), F_GET_SEALS)."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & ARTIFACT_SEALS == ARTIFACT_SEALS
    except OSError:
        return False  # not a memfd


def is_read_only(descriptor: int) -> bool:
    """True where it was opened for reading alone (open(2)). Raises OSError."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


def copy(descriptor: int) -> int:
    """A duplicate, the caller's to close. Raises OSError (EMFILE, EBADF)."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)


def copies(descriptors: Iterable[int]) -> list[int]:
    """Duplicates of all of them, or OSError and none."""
    made: list[int] = []
    try:
        for descriptor in descriptors:
            made.append(copy(descriptor))
    except OSError:
        close_all(made)
        raise
    return made


def close_all(descriptors: Iterable[int]) -> None:
    """Close each; none of them may be -1 or closed already."""
    for descriptor in descriptors:
        os.close(descriptor)
