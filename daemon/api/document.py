"""The OpenAPI 3.1 document of this deployment: pydantic's schemas, the table of operations, figures and examples."""

import importlib.metadata
from collections.abc import Iterable
from typing import Any

import pydantic
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from daemon.grading.packages.store import ID

from . import access, errors, playground, stream
from .error_codes import CODES
from .examples import Example, load
from .figures import Figures, fill
from .operations import OPERATIONS, TAGS, Answer, Model, Operation

Json = dict[str, Any]
REF = "#/components/schemas/"
INTRODUCTION = (
    "Runs other people's programs on this host, each in a single-use jail. Bodies are strict: an unknown field, another"
    " type or a key that occurs twice is refused. Errors are `application/problem+json` (RFC 9457): `detail` can be"
    " shown as it is, `code` is for programs. Whatever answers GET answers HEAD; a method that a path has not is 405"
    " `method_not_allowed`, a path that is not there 404 `not_found`. Pages from localhost may ask (CORS),"
    " and from the origins that this deployment names."
)


TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "Where this deployment uses tokens. Each is for some of run, grade, problems and watch.",
}


class _Schemas(GenerateJsonSchema):
    """Without a title for each field, which would only repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(figures: Figures) -> Json:
    """It has no reference beyond itself, and all bounds are numbers."""
    found = {
        "openapi": "3.1.0",
        "info": {
            "title": "cellblock",
            "version": importlib.metadata.version("cellblock"),
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(),
        "components": {"schemas": _schemas(), "securitySchemes": {"token": TOKEN}},
    }
    known = fill(found, {**figures, "codes": sorted(CODES)})
    assert isinstance(known, dict)
    _add_examples(known["paths"])  # now, as the links: a dollar of theirs is no figure
    _add_links(known["paths"])
    return known


def _schemas() -> Json:
    """Requests are described as they are read, answers as they are written."""
    requests = {one.takes for one in OPERATIONS if isinstance(one.takes, type)}
    answers = {answer.model for one in OPERATIONS for answer in one.answers if answer.model is not None}
    events: set[Model] = {model for one in OPERATIONS for answer in one.answers for _, model in answer.events}
    modes: list[tuple[Model, Any]] = [(model, "validation") for model in requests]
    answers |= {*events, errors.ProblemDetails}
    modes += [(model, "serialization") for model in answers]
    _, found = models_json_schema(modes, ref_template=REF + "{model}", schema_generator=_Schemas)
    return dict(sorted(found["$defs"].items()))


def _paths() -> Json:
    paths: Json = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return paths


def _operation(one: Operation) -> Json:
    found: Json = {
        "operationId": one.id,
        "tags": [one.tag],
        "summary": one.summary,
        "description": one.description,
        "parameters": list(_parameters(one)),
        **_security(one),
        "responses": {**{str(answer.status): _answer(answer) for answer in one.answers}, **_errors(one)},
    }
    if isinstance(one.takes, str):
        found["requestBody"] = {"required": True, "content": {one.takes: {}}}
    elif one.takes is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(one.takes)}}}
    return found


def _security(one: Operation) -> Json:
    """A token, or none where the deployment has no tokens."""
    if one.path in access.OPEN:
        return {}
    scope = access.scope_of(one.method, one.path)
    return {"security": [{"token": [] if scope is None else [scope.value]}, {}]}


def _parameters(one: Operation) -> Iterable[Json]:
    if "{id}" in one.path:
        text = "What the problem is stored under: 1 to 64 of a-z, 0-9, _ and -, a letter or a digit first."
        schema = {"type": "string", "pattern": f"^{ID.pattern}$", "maxLength": 64}
        yield {"name": "id", "in": "path", "required": True, "description": text, "schema": schema}
    if "{file}" in one.path:
        names: Json = {"type": "string", "enum": sorted(playground.FILES)}
        yield {"name": "file", "in": "path", "required": True, "description": "Its name.", "schema": names}
    if one.has_etag:
        text = "ETags that the client has, as RFC 9110 writes them; where one of them is right, the answer is 304."
        schema = {"type": "string", "x-unbounded": "as long as a header may be"}
        yield {"name": "If-None-Match", "in": "header", "description": text, "schema": schema}


def _answer(answer: Answer) -> Json:
    found: Json = {"description": answer.description}
    if answer.has_etag:
        found["headers"] = {"ETag": {"description": "The version, in quotes.", "schema": {"type": "string"}}}
    if answer.media_type is not None:
        schema = {} if answer.model is None else {"schema": _ref(answer.model)}
        found["content"] = {answer.media_type: schema, **{other: {} for other in answer.others}}
    if answer.events:
        events: dict[str, Model] = {**dict(answer.events), "error": errors.ProblemDetails}
        names = ", ".join(f"`{name}` ({model.__name__})" for name, model in events.items())
        text = f"Events as they happen, where the header Accept has this type. The data of each is JSON: {names}. "
        text += "The last is `result`, or `error` where the request could not be carried out."
        refs = {name: _ref(model) for name, model in events.items()}
        aloud: Json = {
            "type": "string",
            "description": text,
            "x-events": refs,
            "x-unbounded": "as long as output goes on",
        }
        found["content"][stream.CONTENT_TYPE] = {"schema": aloud}
    return found


def _errors(one: Operation) -> Json:
    """One answer for each status that errors have."""
    by_status: dict[int, list[str]] = {}
    own = (*one.codes, *(() if one.path in access.OPEN else access.ERRORS))
    for code in (*own, "bad_http", "wrong_host", "too_many_connections", "internal_error"):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {str(status): _error(codes) for status, codes in sorted(by_status.items())}


def _error(codes: list[str]) -> Json:
    text = "\n".join(f"- `{code}`: {CODES[code].when}" for code in codes)
    found: Json = {"description": text, "content": {errors.CONTENT_TYPE: {"schema": _ref(errors.ProblemDetails)}}}
    if all(CODES[code].retry for code in codes):
        schema = {"type": "integer", "minimum": 1, "maximum": 3600}
        text = "Seconds to wait before trying again."
        found["headers"] = {"Retry-After": {"required": True, "description": text, "schema": schema}}
    return found


def _ref(model: type[pydantic.BaseModel]) -> Json:
    return {"$ref": REF + model.__name__}


def _add_examples(paths: Json) -> None:
    for example in load():
        one = example.of
        operation = paths[one.path][one.method.lower()]
        if isinstance(example.request, dict) and example.status < 400:
            _add(operation["requestBody"]["content"]["application/json"], example, example.request)
        if example.answer is not None:
            content = operation["responses"][str(example.status)]["content"]
            _add(content[example.media_type], example, example.answer)


def _add_links(paths: Json) -> None:
    """From a stored problem to what can be done with it."""
    others = [one for one in OPERATIONS if "{id}" in one.path and one.method != "PUT"]
    links = {one.id: {"operationId": one.id, "parameters": {"id": "$request.path.id"}} for one in others}
    for answer in ("200", "201"):
        paths["/problems/{id}"]["put"]["responses"][answer]["links"] = links


def _add(media: Json, example: Example, value: Any) -> None:
    media.setdefault("examples", {})[example.name] = {"summary": example.summary, "value": value}
