"""Reads YAML as text, lists and maps only: what a scalar means is decided by whoever asks for its key.

So `name: No` is the text No, and `on_reject: break` needs no quotes. Bounded in bytes, nodes and depth, with aliases
counted as often as they are used. Nothing in a text can construct an object: PyYAML only makes events of it.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from .refusal import PackageRefused

BYTES_MAX = 1 << 20
NODES_MAX = 50_000
SCALAR_CHARACTERS_MAX = 64 << 10
DEPTH_MAX = 24
NULLS = {"", "~", "null", "Null", "NULL"}  # YAML 1.1 and 1.2, plain only
MERGE = "<<"

Value = str | None | list["Value"] | dict[str, "Value"]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(file: str, content: bytes) -> Value:
    """The only document of a text in UTF-8; None for an empty one. A key that is repeated has its last value.

    Raises PackageRefused, which names `file` and the line.
    """
    if len(content) > BYTES_MAX:
        raise PackageRefused(f"{file}: is larger than {BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PackageRefused(f"{file}: is not UTF-8") from None
    try:
        return _Builder(file, yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        line = 1 + error.problem_mark.line if error.problem_mark else 1
        raise PackageRefused(f"{file}: line {line}: {error.problem or error.context or 'is not YAML'}") from None
    except yaml.YAMLError:
        raise PackageRefused(f"{file}: has characters that YAML does not allow") from None


class _Builder:
    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self._file, self._events = file, events
        self._nodes = 0
        self._anchors: dict[str, tuple[Value, int]] = {}  # what it stands for, and how many nodes that is

    def document(self) -> Value:
        result: Value = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refused(event, "a second document begins")
            elif isinstance(event, yaml.NodeEvent):
                result = self._value(event, 0)
        return result

    def _value(self, event: Any, depth: int) -> Value:
        if depth > DEPTH_MAX:
            raise self._refused(event, f"more than {DEPTH_MAX} levels")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._refused(event, f"the alias {event.anchor} has no anchor before it")
            value, nodes = self._anchors[event.anchor]
            self._count(event, nodes)
            return value
        before = self._nodes
        self._count(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(depth)
        else:
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._nodes - before
        return value

    def _scalar(self, event: Any) -> Value:
        if len(event.value) > SCALAR_CHARACTERS_MAX:
            raise self._refused(event, f"a text of more than {SCALAR_CHARACTERS_MAX} characters")
        is_plain = event.style in (None, "")
        return None if is_plain and event.value in NULLS else str(event.value)

    def _sequence(self, depth: int) -> Value:
        found: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> Value:
        found: dict[str, Value] = {}
        merged: list[Value] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise self._refused(event, "a key that is no text")
            value = self._value(next(self._events), depth + 1)
            if key == MERGE and event.style in (None, ""):
                merged += value if isinstance(value, list) else [value]
            else:
                found[key] = value
        for other in merged:
            if not isinstance(other, dict):
                raise self._refused(event, "<< needs a map")
            for key, value in other.items():
                found.setdefault(key, value)
        return found

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise self._refused(event, f"more than {NODES_MAX} values, with its aliases")

    def _refused(self, event: Any, what: str) -> PackageRefused:
        return PackageRefused(f"{self._file}: line {1 + event.start_mark.line}: {what}")
