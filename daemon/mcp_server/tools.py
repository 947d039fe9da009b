"""The tools of MCP: three operations of the API, as the server's own document describes them.

Nothing of a tool is written down here but which operation it is: fields, bounds and descriptions come from the OpenAPI
document, which has the limits of that deployment, and the server judges the arguments. Every text of an answer is cut
to what a model can read.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcp import types

REF = "#/components/schemas/"
TEXT_CHARS_MAX = 20_000  # of one text in an answer; its middle is left out
HEAD, TAIL = TEXT_CHARS_MAX * 3 // 4, TEXT_CHARS_MAX // 4
NO_INPUT = {"type": "object", "properties": {}, "additionalProperties": False}

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """A tool's endpoint. What an agent has no use for is left out of what it sends and gets."""

    method: str
    path: str
    not_sent: frozenset[str] = frozenset()
    not_told: frozenset[str] = frozenset()


OPERATIONS = {
    "run_code": Operation(
        "POST", "/execute", frozenset({"binary"}), frozenset({"output", "output_base64", "stderr_base64"})
    ),
    "grade": Operation("POST", "/grade"),
    "languages": Operation("GET", "/languages"),
}
NAMES = {f"`{one.method} {one.path}`": f"the tool `{name}`" for name, one in OPERATIONS.items()}


def of_document(document: Json) -> tuple[types.Tool, ...]:
    """The tools that a server's /openapi.json tells of. Raises KeyError for what is no such document."""
    return tuple(_tool(name, one, document) for name, one in OPERATIONS.items())


def _tool(name: str, one: Operation, document: Json) -> types.Tool:
    told = document["paths"][one.path][one.method.lower()]
    schemas = document["components"]["schemas"]
    answer = told["responses"]["200"]["content"]["application/json"]["schema"]
    given = NO_INPUT
    if "requestBody" in told:
        given = _whole(told["requestBody"]["content"]["application/json"]["schema"], schemas, one.not_sent)
    is_read_only = True  # a run changes nothing outside of its jail
    return types.Tool(
        name=name,
        title=told["summary"],
        description=f"{told['description']} Texts above {TEXT_CHARS_MAX} characters are cut in the middle.",
        input_schema=given,
        output_schema=_whole(answer, schemas, one.not_told),
        annotations=types.ToolAnnotations(
            read_only_hint=is_read_only, destructive_hint=False, idempotent_hint=False, open_world_hint=False
        ),
    )


def _whole(schema: Json, schemas: Json, left_out: frozenset[str]) -> Json:
    """The schema that `schema` refers to, complete in itself and without these fields."""
    found = schemas[schema["$ref"].removeprefix(REF)]
    properties = {name: value for name, value in found["properties"].items() if name not in left_out}
    required = [name for name in found.get("required", []) if name not in left_out]
    whole: Json = {**_rewritten(found), "properties": _rewritten(properties), "required": required}
    used: set[str] = set()
    waiting = set(_references(whole))
    while waiting:
        used |= waiting
        waiting = {name for one in waiting for name in _references(_rewritten(schemas[one]))} - used
    if used:
        whole["$defs"] = {name: _rewritten(schemas[name]) for name in sorted(used)}
    return whole


def _rewritten(value: Any) -> Any:
    """With references into `$defs`, tools by their names, and without words that are ours alone."""
    if isinstance(value, list):
        return [_rewritten(one) for one in value]
    if isinstance(value, str):
        for ours, name in (*NAMES.items(), (REF, "#/$defs/")):
            value = value.replace(ours, name)
    if not isinstance(value, dict):
        return value
    return {name: _rewritten(one) for name, one in value.items() if not name.startswith("x-")}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix("#/$defs/")
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def result_of(one: Operation, answer: Json) -> types.CallToolResult:
    """What the server answered, structured and as text."""
    told = {name: _cut(value) for name, value in answer.items() if name not in one.not_told}
    text = json.dumps(told, ensure_ascii=False)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=told)


def refused(text: str) -> types.CallToolResult:
    """What a model reads where nothing was run, and may mend."""
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
        return f"{value[:HEAD]}\n[{len(value) - TEXT_CHARS_MAX} characters are left out here]\n{value[-TAIL:]}"
    if isinstance(value, list):
        return [_cut(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _cut(one) for name, one in value.items()}
    return value
