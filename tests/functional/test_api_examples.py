"""The examples of the API's document are true: each is sent to a server, in their order, and its answer is compared.

`python -m tests.functional.test_api_examples` writes the answers down anew; whoever runs it reads what has changed.
"""

import json
from typing import Any

import pytest

from daemon.api import examples
from daemon.api.examples import Example
from tests.server import Answer, Server
from tests.small_packages import zip_bytes

# What differs from host to host and from run to run; whether it is null, a number or a text does not.
VARIES = {
    "execution_time", "cpu_time", "wall_time", "compile_time", "time", "cpu_time_max", "memory_bytes", "memory_bytes_max",
    "request_id", "version", "stored_at", "disk_bytes",
}  # fmt: skip
FACTS = {"health", "languages", "index"}  # operations whose numbers and texts are this host's


def send(server: Server, example: Example) -> Answer:
    headers, body = {}, None
    if example.streams:
        headers["Accept"] = "text/event-stream"
    if example.package is not None:
        headers["Content-Type"], body = "application/zip", zip_bytes(example.package)
    elif example.request is not None:
        headers["Content-Type"], body = "application/json", json.dumps(example.request).encode()
    return server.request(example.of.method, example.path, body, headers)


def events(text: str) -> list[tuple[str, Any]]:
    """Of a stream: names and data."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def masked(value: Any, everything: bool = False) -> Any:
    """Kinds of values in place of those that vary."""
    if isinstance(value, dict):
        return {
            key: type(item).__name__ if key in VARIES and not isinstance(item, dict) else masked(item, everything)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item, everything) for item in value]
    return type(value).__name__ if everything and value is not None else value


def shown(example: Example, answer: Answer) -> Any:
    """What of an answer the document shows."""
    if example.operation in ("openapi", "docs", "metrics") or example.status == 204:
        return None
    return answer.text.replace("\r\n", "\n") if example.streams else answer.json


def comparable(example: Example, answer: Any) -> Any:
    if example.streams:
        return masked(events(answer))
    return masked(answer, everything=example.operation in FACTS)


def test_every_example_is_answered_as_the_document_shows(cellblock: Server) -> None:
    for example in examples.load():
        answer = send(cellblock, example)
        told = (example.operation, example.name)
        assert answer.status == example.status, (told, answer.text)
        if example.media_type is not None:
            assert answer.headers.get_content_type() == example.media_type, told
        if example.answer is not None:
            assert comparable(example, shown(example, answer)) == comparable(example, example.answer), told


def test_an_example_that_is_wrong_is_found(cellblock: Server) -> None:
    """The comparison masks times, and nothing else."""
    hello = examples.load()[0]
    answer = shown(hello, send(cellblock, hello))
    for change in ({"output": "Hello, Eve!\n"}, {"cpu_time": None}, {"more": 1}):
        assert comparable(hello, {**answer, **change}) != comparable(hello, hello.answer)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_documents_are_kept_by_whoever_has_them(cellblock: Server, path: str) -> None:
    """An ETag and If-None-Match spare the body; nothing is kept without asking."""
    first = cellblock.request("GET", path)
    assert (first.status, first.headers["Cache-Control"]) == (200, "no-cache")
    again = cellblock.request("GET", path, headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
    assert (again.status, again.text, again.headers["ETag"]) == (304, "", first.headers["ETag"])
    assert cellblock.request("GET", path, headers={"If-None-Match": '"other"'}).text == first.text
    head = cellblock.request("HEAD", path)
    assert (head.status, head.headers["ETag"], head.text) == (200, first.headers["ETag"], "")


@pytest.mark.slow
def test_the_document_has_the_bounds_of_this_deployment() -> None:
    with Server(timeout_s_max=7, timeout_s=3, code_bytes_max=1000, memory_mb_max=300, languages=["python"]) as server:
        schemas = server.request("GET", "/openapi.json").json["components"]["schemas"]
        fields = schemas["ExecuteRequest"]["properties"]
        assert fields["timeout"]["maximum"] == 7 and "default of 3 s" in fields["timeout"]["description"]
        assert fields["memory_limit_mb"]["maximum"] == 300
        assert fields["code"]["maxLength"] == 1000
        assert fields["language"]["enum"] == ["py", "python", "python3"]
        asked = {"language": "python", "code": "print(1)"}
        assert server.post({**asked, "timeout": 7, "memory_limit_mb": 300}).status == 200
        for beyond in ({"timeout": 7.1}, {"memory_limit_mb": 301}, {"code": "#" * 1001}):
            assert server.post({**asked, **beyond}).status in (400, 413)


def write() -> None:
    """The answers of a server of now into examples.json."""
    entries = json.loads(examples.FILE.read_text())
    with Server() as server:
        for entry, example in zip(entries, examples.load(), strict=True):
            answer = send(server, example)
            assert answer.status == example.status, (example, answer.text)
            entry["answer"] = shown(example, answer)
    examples.FILE.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
