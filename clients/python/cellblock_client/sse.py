"""Reads an event stream (the HTML standard, "Server-sent events"): bytes as they come, events as they are complete."""

import re
from collections.abc import Iterator

LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"


class EventParser:
    """`feed` it all bytes in their order. What stands after the last empty line is no event."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that has no end yet
        self._ended_by_cr = False  # so that a line feed that comes next is no line end of its own
        self._is_first = True
        self._name = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """Name and data of each event that these bytes complete. To be read to its end."""
        if not data:
            return
        if self._ended_by_cr:
            data = data.removeprefix(b"\n")
        self._ended_by_cr = data.endswith(b"\r")
        first, *others = LINE_END.split(data)
        self._line.append(first)
        for piece in others:
            line = b"".join(self._line)
            self._line = [piece]
            if self._is_first:
                line, self._is_first = line.removeprefix(BOM), False
            if line:
                self._take(line.decode("utf-8", "replace"))
                continue
            if self._data:
                yield self._name or "message", "\n".join(self._data)
            self._name, self._data = "", []

    def _take(self, line: str) -> None:
        """A line that is not empty. A comment has no name, and fields that are not known are passed over."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
