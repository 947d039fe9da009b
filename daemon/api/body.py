"""From request bytes to a pydantic model, strictly: media type, size, JSON without its ambiguities, then the schema."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic
from aiohttp import web

from daemon.settings import Settings

from . import pace
from .admission import Room
from .errors import ERRORS_MAX, NAMED_MAX, ApiProblem, FieldError
from .models import ITEMS_MAX

FIELDS_MAX = 64
BIG_BYTES = 256 << 10  # parsed off the event loop
Model = TypeVar("Model", bound=pydantic.BaseModel)


async def read(request: web.Request, model: type[Model], room: Room, settings: Settings) -> Model:
    """The body as a `model`; `room` holds its bytes as they come, and the caller gives them back.

    Raises ApiProblem: 400 (not JSON, or not the model), 408 (it comes too slowly), 413 (above the limit), 415 (another
    media type, or compressed), 429 and 503 (no room).
    """
    if request.content_type != "application/json":
        raise ApiProblem(415, "unsupported_media_type", "The body must be application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiProblem(415, "unsupported_media_type", "Compressed bodies are not accepted")
    if request.content.is_eof():  # all of it has come with the headers
        data = await _receive(request, room, settings.body_bytes_max, None)
    else:
        async with pace.at_least(settings.body_bytes_per_s_min) as came:
            data = await _receive(request, room, settings.body_bytes_max, came)
    if len(data) > BIG_BYTES:
        return await asyncio.to_thread(parse, data, model)
    return parse(data, model)


async def _receive(request: web.Request, room: Room, bytes_max: int, came: Callable[[int], None] | None) -> bytearray:
    data = bytearray()
    if (request.content_length or 0) <= bytes_max:
        while piece := await request.content.readany():
            data += piece
            if len(data) > bytes_max:
                break
            room.resize(len(data))
            if came is not None:
                came(len(data))
        else:
            return data
    raise ApiProblem(413, "body_too_large", f"Request body too large (max {bytes_max} bytes)")


def parse(data: bytes | bytearray, model: type[Model]) -> Model:
    """Raises ApiProblem 400 with the path of each wrong field."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except _Ambiguous as error:
        raise ApiProblem(400, "invalid_json", str(error), (error.field,)) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise ApiProblem(400, "invalid_json", f"The body is not valid JSON: {reason}") from None
    if isinstance(value, dict) and (len(value) > FIELDS_MAX or any(map(_is_long, value.values()))):
        raise _too_many(value, model)
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        errors = tuple(
            FieldError((".".join(map(str, problem["loc"])) or "body")[:NAMED_MAX], problem["msg"][: 2 * NAMED_MAX])
            for problem in error.errors(include_url=False, include_input=False, include_context=False)[:ERRORS_MAX]
        )
        detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
        raise ApiProblem(400, "invalid_request", detail, errors) from None


def _too_many(value: dict[str, Any], model: type[pydantic.BaseModel]) -> ApiProblem:
    """Of fields, or of items in the first field that has too many; with the field's own maximum, where it has one."""
    for name, field in model.model_fields.items():
        if _is_long(value.get(name)):
            own = [one.max_length for one in field.metadata if hasattr(one, "max_length")]
            error = FieldError(name, f"at most {min([*own, ITEMS_MAX])} items")
            return ApiProblem(400, "invalid_request", f"{name}: {error.message}", (error,))
    return ApiProblem(400, "invalid_request", f"At most {FIELDS_MAX} fields, and {ITEMS_MAX} items in each")


class _Ambiguous(ValueError):
    """Valid for some JSON parsers, something else for others."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = FieldError(field[:NAMED_MAX], message)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise _Ambiguous(key, f"The key {key[:NAMED_MAX]!r} occurs twice")
        value[key] = item
    return value


def _is_long(value: Any) -> bool:
    return isinstance(value, list | dict) and len(value) > ITEMS_MAX


def _no_constant(name: str) -> Any:
    raise _Ambiguous("body", f"{name} is not JSON")
