"""What the store writes beside an unpacked package: all that was read in it, and its time limit."""

import dataclasses
import functools
import hashlib
import json

import pydantic

from .problem import Problem
from .time_limit import TimeLimit


@dataclasses.dataclass(frozen=True, slots=True)
class Description:
    """Of one version."""

    problem: Problem
    time_limit: TimeLimit


@dataclasses.dataclass(frozen=True, slots=True)
class _Limit:
    time_limit: TimeLimit


_DESCRIPTION = pydantic.TypeAdapter(Description)
_LIMIT = pydantic.TypeAdapter(_Limit)


@functools.cache
def form() -> str:
    """It changes with every field of a description. It takes 5 ms."""
    return hashlib.sha256(json.dumps(_DESCRIPTION.json_schema(), sort_keys=True).encode()).hexdigest()


def to_json(description: Description) -> bytes:
    """For from_json; infinities are written as Python's json does."""
    return json.dumps(dataclasses.asdict(description)).encode()


def from_json(text: bytes) -> Description:
    """Raises pydantic.ValidationError (a ValueError) where it is none."""
    return _DESCRIPTION.validate_json(text, strict=True)


def limit_of(text: bytes) -> TimeLimit:
    """The time limit in what another release wrote. Raises ValueError where there is none."""
    return _LIMIT.validate_json(text).time_limit
