"""Files beside a source: which names are allowed, and how they travel to a jail in one descriptor."""

import dataclasses
import errno
import os
import re
import struct
from collections.abc import Iterable, Iterator

from daemon.sandbox.descriptors import memfd, send_all, write_all
from daemon.sandbox.errors import CallersFault

COMPONENT_BYTES = 255  # NAME_MAX, limits.h
NAME_BYTES = 1024
DEPTH_MAX = 16
_HEAD = struct.Struct("<I4xQ")  # bytes of the name, bytes of the content


class BadName(CallersFault, ValueError):
    """A name that is not a plain relative path; the text says why. (pydantic takes a ValueError for a wrong field.)"""


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """`name` is relative to /work. The content may be the descriptor of a file, which is lent."""

    name: str
    content: bytes | int

    @property
    def size(self) -> int:
        """Bytes of the content. Raises OSError."""
        return len(self.content) if isinstance(self.content, bytes) else os.fstat(self.content).st_size


def check_name(name: str) -> str:
    """The name itself, when a file of /work may have it. Raises BadName."""
    parts = name.split("/")
    if not name or len(name.encode()) > NAME_BYTES or len(parts) > DEPTH_MAX:
        raise BadName(f"a name has 1 to {NAME_BYTES} bytes and at most {DEPTH_MAX} parts")
    if any(part in ("", ".", "..") for part in parts):
        raise BadName("a name is relative, without empty parts, '.' and '..'")
    if any(len(part.encode()) > COMPONENT_BYTES for part in parts) or re.search(r"[\x00-\x1f\x7f\\]", name):
        raise BadName(f"parts have at most {COMPONENT_BYTES} bytes, without backslashes and control characters")
    return name


def check_together(files: tuple[File, ...], taken: set[str]) -> None:
    """Raises BadName when two are the same, when one is a directory of another, or when a name is `taken`."""
    names = set(taken)
    directories: set[str] = set()
    for file in files:
        if file.name in names or file.name in directories:
            raise BadName(f"{file.name} is there already")
        names.add(file.name)
        for directory in _directories(file.name):
            if directory in names:
                raise BadName(f"{directory} is a file")
            directories.add(directory)


def _directories(name: str) -> tuple[str, ...]:
    """Those that the file is in, the outermost first."""
    parts = name.split("/")
    return tuple("/".join(parts[:depth]) for depth in range(1, len(parts)))


class Above:
    """Files that are put over others: what has a name of theirs, is in a folder's place or has a file as its folder
    gives way."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._directories = frozenset(one for name in self._names for one in _directories(name))

    def replaces(self, name: str) -> bool:
        """Whether a file of this name cannot be beside them."""
        taken = name in self._names or name in self._directories
        return taken or any(one in self._names for one in _directories(name))


@dataclasses.dataclass(frozen=True, slots=True)
class PackedFile:
    """Where it lies in a descriptor: its content follows its head and its name. Offsets and sizes are in bytes."""

    name: str
    start: int
    content: int
    size: int

    @property
    def end(self) -> int:
        """The offset of the next one."""
        return self.content + self.size


def pack(files: tuple[File, ...], *beside: int | None) -> int:
    """A memfd with the files one after the other: struct file_head of daemon/warden/native/jail.c, name, content.

    They come after those that are packed in `beside`, of which those that are in the way of later ones are left out. A
    jail's init or program unpacks it at the jail's uid. The caller closes it. Raises OSError.
    """
    packed = memfd("files", b"")
    try:
        layers = [(other, tuple(packed_files(other))) for other in beside if other is not None]
        for number, (other, layer) in enumerate(layers, 1):
            later = (file.name for _, others in layers[number:] for file in others)
            above = Above((*(file.name for file in files), *later))
            for known in layer:
                if not above.replaces(known.name):
                    send_all(packed, other, known.end - known.start, known.start)
        for file in files:
            name, size = file.name.encode(), file.size
            write_all(packed, _HEAD.pack(len(name), size) + name)
            if isinstance(file.content, bytes):
                write_all(packed, file.content)
            else:
                send_all(packed, file.content, size)
    except OSError:
        os.close(packed)
        raise
    return packed


def packed_files(descriptor: int) -> Iterator[PackedFile]:
    """Each file that is packed there.

    A jail may have packed it: raises OSError for what is cut or has no such names.
    """
    start, end = 0, os.fstat(descriptor).st_size
    while start < end:
        head = os.pread(descriptor, _HEAD.size, start)
        name_bytes, content_bytes = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        content = start + _HEAD.size + name_bytes
        if not 0 < name_bytes <= NAME_BYTES or content + content_bytes > end:
            raise OSError(errno.EINVAL, "packed files that are cut")
        name = os.fsdecode(os.pread(descriptor, name_bytes, start + _HEAD.size))
        yield PackedFile(name, start, content, content_bytes)
        start = content + content_bytes
