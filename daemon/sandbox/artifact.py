"""Sealed copies of what a compile step left: nobody can change them any more (fcntl(2), file sealing)."""

import fcntl
import os

from .model import ARTIFACT_SEALS

COPY_BYTES = 1 << 20


def sealed_memfd(content: bytes) -> int:
    """The bytes, sealed. Raises OSError."""
    descriptor = _memfd()
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, ARTIFACT_SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def sealed_copy(source: int) -> int:
    """A copy of a file, sealed. Raises OSError."""
    descriptor = _memfd()
    offset = 0
    try:
        while sent := os.sendfile(descriptor, source, offset, COPY_BYTES):
            offset += sent
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, ARTIFACT_SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _memfd() -> int:
    return os.memfd_create("artifact", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
