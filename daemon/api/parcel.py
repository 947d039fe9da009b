"""How a parsed body travels from the process that parsed it: a pickle of few classes, with large bytes beside it.

The large ones (input, tests, files) come first in a file, the pickle after them; its length is the file's last eight
bytes. Large bytes are read by pread(2), during which other threads run. Whoever took over the parsing process can have
wrong data read, and nothing else: no class is looked up that is not in CLASSES.
"""

import io
import os
import pickle
import struct
from collections.abc import Iterable

import pydantic

from .grade_models import (
    CustomChecker,
    ExactChecker,
    GradeLimits,
    GradeRequest,
    LinesChecker,
    TestEntry,
    TokenChecker,
)
from .models import ExecuteRequest, FileEntry
from .parsing import BadBody, FieldError, NotJson, NotTheModel
from .problem_models import ProblemGradeRequest

REQUESTS: dict[str, type[pydantic.BaseModel]] = {
    one.__name__: one for one in (ExecuteRequest, GradeRequest, ProblemGradeRequest)
}
_NAMED: tuple[type, ...] = (
    *REQUESTS.values(), FileEntry, TestEntry, ExactChecker, LinesChecker, TokenChecker, CustomChecker, GradeLimits,
    NotJson, NotTheModel, FieldError,
)  # fmt: skip
CLASSES = {(one.__module__, one.__qualname__): one for one in _NAMED}
LARGE_BYTES = 64 << 10
ROOM_BYTES = 64 << 20  # of a pickle beyond the body's size: what a hundred thousand entries need
_LENGTH = struct.Struct("<Q")


def know(*requests: type[pydantic.BaseModel], parts: Iterable[type] = ()) -> None:
    """A dialect's models of whole bodies, and the classes of what is in them: called once, when it is imported."""
    REQUESTS.update((one.__name__, one) for one in requests)
    CLASSES.update(((one.__module__, one.__qualname__), one) for one in (*requests, *parts))


class BadParcel(Exception):
    """It is not what `write` writes."""


def write(file: int, found: pydantic.BaseModel | BadBody) -> None:
    """Into an empty file. Raises OSError."""
    with open(file, "wb", closefd=False) as stream:
        buffer = io.BytesIO()
        _Pickler(buffer, stream).dump(found)
        stream.write(buffer.getbuffer())
        stream.write(_LENGTH.pack(buffer.tell()))


def bytes_max(body_bytes: int) -> int:
    """What is written for a body of so many bytes has at most so many."""
    return 2 * body_bytes + ROOM_BYTES


def read(file: int, body_bytes: int) -> pydantic.BaseModel | BadBody:
    """What was written for a body of so many bytes. Raises BadParcel, OSError."""
    size = os.fstat(file).st_size
    tail = os.pread(file, _LENGTH.size, size - _LENGTH.size) if _LENGTH.size <= size else b""
    length = _LENGTH.unpack(tail)[0] if tail else 0
    if size > bytes_max(body_bytes) or not 0 < length <= size - _LENGTH.size:
        raise BadParcel(f"a file of {size} bytes, of which the pickle has {length}")
    try:
        found = _Unpickler(file, size, os.pread(file, length, size - _LENGTH.size - length)).load()
    except Exception as error:  # pickle: "not necessarily limited to" those that it names
        raise BadParcel(f"{type(error).__name__}: {error}") from None
    if not isinstance(found, pydantic.BaseModel | BadBody):
        raise BadParcel(f"a {type(found).__name__}")
    return found


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, stream: io.BufferedWriter) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self._stream = stream

    def persistent_id(self, thing: object) -> tuple[int, int] | None:
        if type(thing) is not bytes or len(thing) < LARGE_BYTES:
            return None
        start = self._stream.tell()
        self._stream.write(thing)
        return start, len(thing)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: int, size: int, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._file, self._size = file, size

    def persistent_load(self, place: tuple[int, int]) -> bytes:
        start, length = place
        if not 0 <= start <= start + length <= self._size:
            raise BadParcel("bytes beyond its end")
        return os.pread(self._file, length, start)

    def find_class(self, module: str, name: str) -> object:
        try:
            return CLASSES[module, name]
        except KeyError:
            raise BadParcel(f"the class {module}.{name}") from None
