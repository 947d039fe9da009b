"""From JSON to the dataclasses of results.py, by their annotations."""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import NoAnswer

Result = TypeVar("Result")


def parsed(text: str | bytes) -> Any:
    """Raises NoAnswer for what is no JSON, or nested deeper than Python reads."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f"The answer is no JSON: {error}") from error


def decoded(kind: type[Result], value: Any) -> Result:
    """`value` as a dataclass. Fields that are not known are passed over. Raises NoAnswer where one has another form, or
    is missing and has no default."""
    try:
        found = _of(kind, value)
    except (KeyError, TypeError) as error:
        raise NoAnswer(f"The answer is no {kind.__name__}: {error}") from error
    assert isinstance(found, kind)
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _of(kind: Any, value: Any) -> Any:
    """Raises KeyError and TypeError."""
    if isinstance(kind, types.UnionType):  # all of ours are X | None
        (inner,) = (one for one in kind.__args__ if one is not types.NoneType)
        return None if value is None else _of(inner, value)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{value!r:.40} is no list")
        return tuple(_of(kind.__args__[0], one) for one in value)
    if dataclasses.is_dataclass(kind):
        return _of_fields(typing.cast(Any, kind), value)
    expected = (int, float) if kind is float else kind
    if isinstance(expected, type | tuple) and not isinstance(value, expected):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _of_fields(kind: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.40} is no object")
    hints, found = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            found[field.name] = _of(hints[field.name], value[field.name])
        elif field.default is dataclasses.MISSING:
            raise KeyError(field.name)
    return kind(**found)
