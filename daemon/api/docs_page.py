"""The document of the API as a page for people: plain HTML from docs.html, no script, no other file."""

import base64
import hashlib
import json
import pathlib
import re
from typing import Any

import jinja2
from markupsafe import Markup, escape

from . import examples
from .document import REF, Json
from .models import LEAST_S

TEMPLATE = pathlib.Path(__file__).with_name("docs.html")
NULL = {"type": "null"}
SHOWN_MAX = 12  # values of an enumeration


def page(document: Json) -> tuple[str, str]:
    """The page, and a Content-Security-Policy that allows its one style sheet and nothing else."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"prose": prose, "type": type_of, "bounds": bounds_of, "pretty": pretty, "anchor": anchor}
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        document=document, operations=_operations(document), address=examples.ADDRESS
    )
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    return text, f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def _operations(document: Json) -> list[Json]:
    """Those of the document, each with its method, path and examples."""
    by_id: dict[str, list[examples.Example]] = {}
    for example in examples.load():
        by_id.setdefault(example.operation, []).append(example)
    return [
        {**operation, "method": method.upper(), "path": path, "examples": by_id.get(operation["operationId"], [])}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def prose(text: str) -> Markup:
    """CommonMark of one paragraph or of one list, with no other mark than `code`."""
    lines = [re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(line))) for line in text.splitlines()]
    if lines and all(line.startswith("- ") for line in lines):
        return Markup("<ul>" + "".join(f"<li>{line[2:]}</li>" for line in lines) + "</ul>")
    return Markup(" ".join(lines))


def anchor(name: str) -> str:
    """Of a model, from its name or reference."""
    return "model-" + name.removeprefix(REF)


def type_of(schema: Json) -> Markup:
    """In words, with links to models."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return Markup('<a href="#{}">{}</a>').format(anchor(name), name)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return Markup(" or ").join(type_of(one) for one in schema[key])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        shown = Markup(", ").join(Markup("<code>{}</code>").format(value) for value in values[:SHOWN_MAX])
        return shown + (" …" if len(values) > SHOWN_MAX else "")
    if schema.get("type") == "array":
        return Markup("list of ") + type_of(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of ") + type_of(schema["additionalProperties"])
    return escape(schema.get("type", "any"))


def bounds_of(schema: Json) -> str:
    """Of a number, of a text's length or of a list; nothing that the description has said already."""
    said = schema.get("description", "")
    found = []
    for branch in ({**schema, **one} for one in schema.get("anyOf", [{}]) if one != NULL):
        low, high = branch.get("minimum"), branch.get("maximum")
        is_open = "exclusiveMinimum" in branch or low == LEAST_S
        ends = ["above 0" if is_open else f"{low:,}"] if is_open or low is not None else []
        if high is not None:
            found.append(" to ".join([*ends, f"{high:,}"]))
        else:
            found += ends if is_open else [f"at least {end}" for end in ends]
        for kind, unit in (("Length", "characters"), ("Items", "items")):
            most, least = branch.get("max" + kind), branch.get("min" + kind)
            if most is not None and str(most) not in said and "enum" not in branch:
                found.append(f"exactly {most:,} {unit}" if most == least else f"at most {most:,} {unit}")
    return ", ".join(found)


def pretty(value: Any) -> str:
    """JSON for people; the text of an event stream as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
