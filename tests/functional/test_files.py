"""The fields `files` and `binary` of POST /execute."""

import base64
from typing import Any

import pytest

from tests.server import Server

EVERY_BYTE = bytes(range(256))


def entry(name: str, content: str | bytes) -> dict[str, str]:
    if isinstance(content, bytes):
        return {"name": name, "content": base64.b64encode(content).decode(), "encoding": "base64"}
    return {"name": name, "content": content}


@pytest.fixture(autouse=True)
def _leaves_nothing(leaves_nothing: None) -> None:
    return leaves_nothing


@pytest.mark.vm
def test_files_are_beside_the_source(cellblock: Server) -> None:
    code = "import pathlib\nprint(sorted(str(p) for p in pathlib.Path('.').rglob('*')), open('data/in.bin', 'rb').read() == bytes(range(256)), open('ü.txt').read())"
    answer = cellblock.execute(
        "python", code, files=[entry("data/in.bin", EVERY_BYTE), entry("ü.txt", "é"), entry("empty", "")]
    )
    assert answer["output"] == "['data', 'data/in.bin', 'empty', 'main.py', 'ü.txt'] True é\n", answer


def test_python_imports_a_module_that_was_sent_even_one_of_a_library_name(cellblock: Server) -> None:
    files = [
        entry("helper.py", "x = 5"),
        entry("pack/__init__.py", ""),
        entry("pack/sub.py", "y = 6"),
        entry("random.py", "mine = True"),
    ]
    answer = cellblock.execute(
        "python", "import helper, pack.sub, random\nprint(helper.x, pack.sub.y, random.mine)", files=files
    )
    assert answer["output"] == "5 6 True\n", answer


def test_rust_builds_with_a_module_that_was_sent(cellblock: Server) -> None:
    files = [entry("helper.rs", "pub fn six() -> u32 { 6 }"), entry("words.txt", "from a file")]
    code = 'mod helper;\nfn main() { println!("{} {}", helper::six(), include_str!("words.txt")); }'
    answers = [cellblock.execute("rust", code, files=files) for _ in range(2)]
    assert [answer["output"] for answer in answers] == ["6 from a file\n"] * 2, answers


def test_typescript_builds_with_a_module_that_was_sent(cellblock: Server) -> None:
    code = "import { readFileSync } from 'node:fs';\nimport type { Word } from './types';\nconst w: Word = readFileSync('word.txt', 'utf8');\nconsole.log(w);"
    answer = cellblock.execute(
        "typescript", code, files=[entry("types.ts", "export type Word = string;"), entry("word.txt", "w")]
    )
    assert answer["output"] == "w\n", answer


@pytest.mark.threat("F3")
@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "a/.", "a\\b", "a\nb", "x" * 256, "main.py", "a/" * 20 + "b"],
)
def test_a_name_that_is_not_plain_is_refused(cellblock: Server, name: str) -> None:
    answer = cellblock.post({"language": "python", "code": "print(1)", "files": [entry(name, "x")]})
    assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer.text
    assert answer.json["errors"][0]["field"].startswith("files")


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_names_that_collide_are_refused(cellblock: Server, names: tuple[str, str]) -> None:
    answer = cellblock.post({"language": "python", "code": "print(1)", "files": [entry(name, "x") for name in names]})
    assert answer.status == 400, answer.text


def test_bad_base64_and_too_much_are_refused(cellblock: Server) -> None:
    bad: dict[str, Any] = {"name": "a", "content": "%%%", "encoding": "base64"}
    answer = cellblock.post({"language": "python", "code": "print(1)", "files": [bad]})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "files.0.content")
    answer = cellblock.post({"language": "python", "code": "print(1)", "files": [entry("a", "x" * (17 << 20))]})
    assert (answer.status, answer.json["code"]) == (413, "files_too_long")


def test_bytes_that_are_not_text_are_carried_exactly_when_asked_for(cellblock: Server) -> None:
    code = "import sys\nsys.stdout.buffer.write(bytes(range(256)))\nsys.stderr.buffer.write(b'\\xff')"
    answer = cellblock.execute("python", code, binary=True)
    assert base64.b64decode(answer["output_base64"]) == EVERY_BYTE
    assert base64.b64decode(answer["stderr_base64"]) == b"\xff"
    assert "\ufffd" in answer["output"]
    assert "output_base64" not in cellblock.execute("python", code)
