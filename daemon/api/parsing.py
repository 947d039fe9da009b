"""From the bytes of a body to a pydantic model, strictly: a bounded shape, JSON without its ambiguities, the schema.

A body of at most SMALL_BYTES is parsed where it came; larger ones elsewhere (parser.py), once `check_shape` has counted
what they hold.
"""

import dataclasses
import json
import mmap
import re
from typing import Annotated, Any, TypeVar

import pydantic

from daemon.sandbox.errors import CallersFault

from .models import Sentence, told

SMALL_BYTES = 64 << 10  # the worst body of this size takes 5 ms
FIELDS_MAX = 64  # of one object
ENTRIES_MAX = 100_000  # items of lists and fields of objects, in all
ERRORS_MAX = 20  # each wrong field costs an object
NAMED_MAX = 200  # characters of a name or a text that a request brings and an error quotes
# Possessive, and without a need for the closing quote: no byte is looked at twice, whatever the body is.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

Model = TypeVar("Model", bound=pydantic.BaseModel)
Body = bytes | bytearray | mmap.mmap


@dataclasses.dataclass(frozen=True, slots=True)
class FieldError:
    """A field of the request that is wrong."""

    field: Annotated[
        str, pydantic.Field(description="Path of the field in the body, dotted."), told(maxLength=NAMED_MAX)
    ]
    message: Annotated[Sentence, pydantic.Field(description="What is wrong with it.")]


class BadBody(CallersFault):
    """A body that is not taken; the text says why, and `errors` where."""

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail, errors)
        self.detail, self.errors = detail, errors

    def __str__(self) -> str:
        return self.detail


class NotJson(BadBody):
    """It is not JSON, or JSON that parsers understand differently."""


class NotTheModel(BadBody):
    """It is JSON, and not what the endpoint takes."""


def check_shape(data: Body) -> None:
    """Raises NotTheModel where there are more than ENTRIES_MAX, before anything is made of any of them."""
    bare, strings = STRING.subn(b"", data, count=2 * ENTRIES_MAX)
    if strings == 2 * ENTRIES_MAX or sum(map(bare.count, (b",", b"[", b"{"))) > ENTRIES_MAX:
        raise _too_many(f"at most {ENTRIES_MAX} items and fields in all")


def parse(data: Body, model: type[Model]) -> Model:
    """Raises NotJson, NotTheModel with the path of each wrong field; of a list the first wrong item is told."""
    try:
        value = json.loads(str(data, "utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise NotJson("The body is not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"The body is not valid JSON: {str(error)[:NAMED_MAX]}") from None
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        errors = tuple(
            FieldError(
                (".".join(map(str, problem["loc"])) or "body")[:NAMED_MAX],
                problem["msg"].removeprefix("Value error, ")[: 2 * NAMED_MAX],  # pydantic's words for a check of ours
            )
            for problem in error.errors(include_url=False, include_input=False, include_context=False)[:ERRORS_MAX]
        )
        raise NotTheModel("; ".join(f"{error.field}: {error.message}" for error in errors), errors) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > FIELDS_MAX:
        raise _too_many(f"at most {FIELDS_MAX} fields in one object")
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)[:NAMED_MAX]
        raise _ambiguous(twice, f"The key {twice!r} occurs twice")
    return value


def _no_constant(name: str) -> Any:
    raise _ambiguous("body", f"{name} is not JSON")


def _ambiguous(field: str, message: str) -> NotJson:
    return NotJson(message, (FieldError(field, message),))


def _too_many(message: str) -> NotTheModel:
    return NotTheModel(f"body: {message}", (FieldError("body", message),))
