"""The document of the API tells all there is: every route, error and field, with units and bounds."""

import ast
import base64
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest

from daemon.api import examples, routes
from daemon.api.access import ERRORS, Access
from daemon.api.admission import Admission
from daemon.api.docs_page import bounds_of, page
from daemon.api.document import REF, document
from daemon.api.error_codes import CODES
from daemon.api.figures import figures_of
from daemon.api.metrics import Metrics
from daemon.api.metrics_page import MetricsPage
from daemon.api.observer import Observer
from daemon.api.operations import OPERATIONS
from daemon.api.parts import Parts
from daemon.api.readiness import Readiness
from daemon.places import ALONE
from daemon.settings import Settings
from daemon.toolchain import registry

API = pathlib.Path(routes.__file__).parent
TOOLCHAINS = registry.load([API.parents[1] / "toolchains"])
SETTINGS = Settings()
DOCUMENT = document(figures_of(SETTINGS, TOOLCHAINS))
SCHEMAS = DOCUMENT["components"]["schemas"]
UNIT = re.compile(r"second|byte|MB|character|percent|without unit|in its own unit", re.IGNORECASE)


def fields() -> Iterator[Any]:
    for model, schema in SCHEMAS.items():
        for name, field in schema.get("properties", {}).items():
            yield pytest.param(field, id=f"{model}.{name}")


def branches(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a value may be, each with the bounds that stand beside the choice; items of lists and objects too."""
    beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "items")}
    for one in schema.get("anyOf") or schema.get("oneOf") or [{}]:
        branch = {**beside, **one}
        yield branch
        for inner in ("items", "additionalProperties"):
            if isinstance(branch.get(inner), dict):
                yield from branches(branch[inner])
    if "items" in schema:
        yield from branches(schema["items"])


def test_it_is_an_openapi_document() -> None:
    openapi_spec_validator.validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def routes_of(settings: Settings) -> set[str]:
    unused: dict[str, Any] = {one.name: None for one in dataclasses.fields(Parts)}  # no route is called
    known = {
        "settings": settings, "toolchains": TOOLCHAINS, "admission": Admission(slots=1, places=1),
        "access": Access(settings, None), "readiness": Readiness(None, None),  # type: ignore[arg-type]
    }  # fmt: skip
    parts = Parts(**{**unused, **known})
    observer = Observer(Metrics(()), None, logs=False)
    app = routes.application(parts, observer, MetricsPage(parts, observer, ALONE))
    return {f"{route.method} {route.resource.canonical}" for route in app.router.routes() if route.method != "HEAD"}


def test_every_route_is_an_operation_and_the_other_way_round() -> None:
    assert routes_of(SETTINGS) == {f"{one.method} {one.path}" for one in OPERATIONS}
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)


def test_a_setting_leaves_the_page_out() -> None:
    assert routes_of(SETTINGS) - routes_of(Settings(playground=False)) == {"GET /playground/{file}"}


@pytest.mark.parametrize("field", list(fields()))
def test_every_field_is_described_with_its_bounds(field: dict[str, Any]) -> None:
    assert field.get("description", "").endswith("."), "a description is a sentence"
    for branch in branches(field):
        if "enum" in branch or "const" in branch or "x-unbounded" in branch:
            continue
        match branch.get("type"):
            case "integer" | "number":
                assert {"minimum", "exclusiveMinimum"} & set(branch), "no least value"
                assert "maximum" in branch, "neither a greatest value nor a reason"
            case "string":
                assert "maxLength" in branch, "neither a length nor a reason"
            case "array":
                assert "maxItems" in branch, "neither a number of items nor a reason"


@pytest.mark.parametrize("field", list(fields()))
def test_every_measure_has_its_unit(field: dict[str, Any]) -> None:
    if any(branch.get("type") == "number" for branch in branches(field)):
        assert UNIT.search(field["description"]) or "points" in field["description"].lower()


def test_every_bound_is_a_number() -> None:
    """No figure is left to be filled in."""
    words = {"minimum", "maximum", "exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems"}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                assert key not in words or isinstance(item, int | float), (key, item)
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(DOCUMENT)


def raised() -> set[tuple[int, str]]:
    """Status and code of every ApiProblem in the code."""
    found = set()
    for path in API.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ApiProblem":
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    found.add((status.value, code.value))
    return found


def test_every_error_is_in_the_table_and_the_other_way_round() -> None:
    others = {
        (404, "not_found"),
        (405, "method_not_allowed"),
        (400, "http_error"),
        (429, "over_share"),
        (400, "bad_http"),
    }
    assert raised() | others == {(code.status, name) for name, code in CODES.items()}


def test_every_code_belongs_to_an_operation_or_to_all() -> None:
    told = {code for one in OPERATIONS for code in one.codes}
    of_all = {"not_found", "method_not_allowed", "http_error", "bad_http", "internal_error", "too_many_connections"}
    assert set(CODES) == {*told, *of_all, *ERRORS, "wrong_host"}


def test_every_operation_has_an_example() -> None:
    assert {example.operation for example in examples.load()} == {one.id for one in OPERATIONS}


@pytest.mark.parametrize("example", examples.load(), ids=lambda example: f"{example.operation}: {example.name}")
def test_every_example_is_what_the_schemas_say(example: examples.Example) -> None:
    operation = DOCUMENT["paths"][example.of.path][example.of.method.lower()]
    answers = operation["responses"][str(example.status)].get("content", {})
    pairs = []
    if example.request is not None and example.status < 400:
        pairs.append((operation["requestBody"]["content"]["application/json"], example.request))
    if example.answer is not None and not example.streams:
        pairs.append((answers[example.media_type], example.answer))
    for media, value in pairs:
        schema = {**media["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """Its policy allows the one style sheet that is in it."""
    html, policy = page(DOCUMENT)
    assert not re.search(
        r"<script|<link|<img|<iframe|javascript:|\son\w+=|\sstyle=|@import|url\(|https?://(?!127)", html
    )
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_the_page_shows_every_operation_field_and_code() -> None:
    html, _ = page(DOCUMENT)
    for one in OPERATIONS:
        assert f'id="{one.id}"' in html
    for model, schema in SCHEMAS.items():
        assert f'id="model-{model}"' in html
        assert all(f'<code class="name">{name}</code>' in html for name in schema.get("properties", {}))
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links <= set(re.findall(r'id="([^"]+)"', html)), "a link leads nowhere"
    assert all(code in html for one in OPERATIONS for code in one.codes)


def test_what_a_description_says_is_shown_and_not_obeyed() -> None:
    """A title or an output that looks like HTML is text."""
    hostile = {**DOCUMENT, "info": {**DOCUMENT["info"], "description": "<b>bold</b> `<i>`"}}
    html, _ = page(hostile)
    assert "&lt;b&gt;bold&lt;/b&gt; <code>&lt;i&gt;</code>" in html


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"anyOf": [{"type": "number", "minimum": 1e-9}, {"type": "null"}], "maximum": 60}, "above 0 to 60"),
        ({"type": "integer", "minimum": 1, "maximum": 1024}, "1 to 1,024"),
        ({"type": "integer", "minimum": 0}, "at least 0"),
        ({"type": "string", "minLength": 32, "maxLength": 32}, "exactly 32 characters"),
        ({"type": "string", "maxLength": 65536, "description": "At most 65536 bytes."}, ""),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 100}, "at most 100 items"),
        ({"type": "boolean"}, ""),
    ],
    ids=str,
)
def test_bounds_are_told_in_words(schema: dict[str, Any], words: str) -> None:
    assert bounds_of(schema) == words


def test_references_lead_somewhere() -> None:
    names = set(re.findall(re.escape(REF) + r"(\w+)", str(DOCUMENT)))
    assert names <= set(SCHEMAS)
