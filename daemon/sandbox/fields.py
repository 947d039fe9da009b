"""Checks of single fields of messages: each takes what JSON gave, and returns the value or raises ValueError."""

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .model import Limits

Check = Callable[[Any], Any]
MAX_ARGS_BYTES = 32 << 10  # of a program's arguments together, with a NUL after each
MAX_ESCAPED_BYTES = 60_000  # of them as JSON: they travel in a message of at most 64 KB


def number(low: int, high: int) -> Check:
    """An int from `low` to `high`, both included; True and False are none."""

    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"not a number from {low} to {high}")
        return value

    return check


def text(characters: int) -> Check:
    """A str of at most so many characters without lone surrogates."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > characters:
            raise ValueError(f"not a text of at most {characters} characters")
        value.encode()  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
        return value

    return check


def flag(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def optional(check: Check) -> Check:
    """None, or what the other check takes."""
    return lambda value: None if value is None else check(value)


def choice(kind: type[enum.StrEnum], *allowed: enum.StrEnum) -> Check:
    """A member of the enum, by its value; one of `allowed` where those are given."""
    values = {member.value: member for member in allowed or kind}

    def check(value: Any) -> enum.StrEnum:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"none of {', '.join(values)}")
        return values[value]

    return check


def texts(value: Any) -> tuple[str, ...]:
    """NUL ends a string in C, so none may hold one."""
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise ValueError("not a list of texts without NUL")
    if sum(len(item.encode()) + 1 for item in value) > MAX_ARGS_BYTES:
        raise ValueError(f"more than {MAX_ARGS_BYTES} bytes")
    return tuple(value)


def paths(most: int) -> Check:
    """At most so many relative paths of files, of which no part leads upwards (is_path_below of jail.c)."""

    def check(value: Any) -> tuple[str, ...]:
        found = texts(value)
        if len(found) > most or any(not path or path.startswith("/") or ".." in path for path in found):
            raise ValueError(f"not at most {most} relative paths without '..'")
        if any(path.endswith("/") for path in found):
            raise ValueError("a path that ends with '/': a run leaves files, and no folders")
        return found

    return check


def arguments(given: Sequence[str]) -> None:
    """Raises ValueError, with a sentence for whoever gave them, where a program cannot have all of these arguments."""
    if any("\0" in argument for argument in given):
        raise ValueError("arguments cannot hold NUL")
    try:
        size = sum(len(argument.encode()) + 1 for argument in given)
    except UnicodeEncodeError:
        raise ValueError("arguments cannot hold lone surrogates") from None
    if size > MAX_ARGS_BYTES or len(json.dumps(list(given))) > MAX_ESCAPED_BYTES:
        raise ValueError(f"arguments have at most {MAX_ARGS_BYTES} bytes together, and {MAX_ESCAPED_BYTES} as JSON")


def numbers(low: int, high: int) -> Check:
    """A list of different ints from `low` to `high`, in rising order."""
    one = number(low, high)

    def check(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise ValueError("not a list")
        found = tuple(one(item) for item in value)
        if list(found) != sorted(set(found)):
            raise ValueError("not in rising order")
        return found

    return check


positive = number(1, (1 << 63) - 1)


def limits(value: Any) -> Limits:
    """Limits as an object; each bound is positive, or None where model.Limits allows it."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    try:
        found = Limits(**value)
    except TypeError:
        raise ValueError("a field too many or too few") from None
    for name in ("memory_bytes", "wall_ns", "processes"):
        positive(getattr(found, name))
    for name in ("cpu_ns", "cpu_share_ms"):
        optional(positive)(getattr(found, name))
    return found


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, as it is."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
