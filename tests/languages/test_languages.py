"""Each language that contestants use: what runs, what fails, and what each ending is called."""

import base64
import io
import json
import zipfile
from typing import Any

import pytest

from tests.server import Server

from .programs import DEEP, FAILS, FILES, GARBAGE, HOG, LANGUAGES, LEAVE, LOOP, SUM, WALLS, WRONG

EVERY = pytest.mark.parametrize("language", LANGUAGES)
QUOTES = {0x27: None, 0x2018: None, 0x2019: None}  # gcc has those of the locale
COMPILED = ("bash", "c", "cpp", "go", "java")


def graded(
    server: Server, language: str, code: str, expected: str = "", *, given: str = "", **limits: Any
) -> dict[str, Any]:
    """What became of the one test of it, whose input is `given`."""
    body = {
        "code": code, "language": language, "tests": [{"input": given, "expected": expected}],
        "limits": {"cpu_time": 10, "wall_time": 60, "memory_mb": 256, **limits},
    }  # fmt: skip
    answer = server.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert answer.status == 200, answer.text
    assert answer.json["compile"]["error"] is None, answer.text
    (test,) = answer.json["tests"]
    found: dict[str, Any] = test
    return found


def test_every_language_is_offered_with_its_version(cellblock: Server) -> None:
    told = {one["id"]: one for one in cellblock.request("GET", "/languages").json["languages"]}
    for language in LANGUAGES:
        assert any(character.isdigit() for character in told[language]["version"]), told[language]
        assert told[language]["compiles"] is (language in COMPILED)


@EVERY
def test_input_is_read_and_output_is_told(cellblock: Server, language: str) -> None:
    answer = cellblock.execute(language, SUM[language], stdin="1 2 3\n40\n")
    assert (answer["output"], answer["error"], answer["success"]) == ("46\n", None, True), answer


@EVERY
def test_what_is_wrong_is_told_with_file_and_line(cellblock: Server, language: str) -> None:
    code, said = WRONG[language]
    answer = cellblock.execute(language, code)
    assert said.translate(QUOTES) in answer["error"].translate(QUOTES), answer["error"]
    assert answer["reason"] == ("compile_error" if language in COMPILED else "exited")


@EVERY
def test_a_program_that_fails_is_a_runtime_error_with_its_trace(cellblock: Server, language: str) -> None:
    code, reason, said = FAILS[language]
    test = graded(cellblock, language, code)
    assert (test["verdict"], test["reason"]) == ("RE", reason), test
    answer = cellblock.execute(language, code)
    assert said in answer["stderr"], answer


@EVERY
def test_a_loop_is_a_time_limit(cellblock: Server, language: str) -> None:
    test = graded(cellblock, language, LOOP[language], cpu_time=0.5)
    assert (test["verdict"], test["reason"]) == ("TLE", "cpu"), test


@EVERY
def test_a_hog_is_a_memory_limit(cellblock: Server, language: str) -> None:
    test = graded(cellblock, language, HOG[language], memory_mb=128)
    assert (test["verdict"], test["reason"]) == ("MLE", "memory"), test
    assert cellblock.execute(language, HOG[language])["reason"] == "memory_limit"


@pytest.mark.parametrize("language", GARBAGE)
def test_garbage_is_collected_before_it_meets_the_limit(cellblock: Server, language: str) -> None:
    test = graded(cellblock, language, GARBAGE[language], "1280\n", memory_mb=128, cpu_time=30)
    assert test["verdict"] == "AC", test


@pytest.mark.parametrize("language", DEEP)
def test_a_million_calls_deep_is_legal(cellblock: Server, language: str) -> None:
    memory_mb = 1024 if language == "pypy" else 256
    test = graded(cellblock, language, DEEP[language], "1000000\n", memory_mb=memory_mb)
    assert test["verdict"] == "AC", test


@pytest.mark.parametrize("language", ["c", "cpp", "java"])
def test_a_recursion_without_end_is_a_memory_limit(cellblock: Server, language: str) -> None:
    """The stack's limit is the memory limit, and the kernel meets the latter first."""
    code = (
        DEEP[language]
        .replace("n ? f", "n + 1 ? f")
        .replace("n == 0 ? 0 :", "n == -1 ? 0 :")
        .replace("f(n - 1)", "f(n + 1)")
    )
    assert code != DEEP[language]
    test = graded(cellblock, language, code, memory_mb=128)
    assert (test["verdict"], test["reason"]) == ("MLE", "memory"), test


@EVERY
def test_a_contests_bound_of_processes_does_not_stop_a_runtime(cellblock: Server, language: str) -> None:
    test = graded(cellblock, language, SUM[language], "0\n", processes=1)
    assert test["verdict"] == "AC", test


@EVERY
def test_several_files_make_one_program(cellblock: Server, language: str) -> None:
    code, others = FILES[language]
    files = [{"name": name, "content": content} for name, content in others.items()]
    answer = cellblock.execute(language, code, files=files)
    assert (answer["output"], answer["error"]) == ("42\n", None), answer


@EVERY
def test_nothing_of_one_run_is_seen_by_the_next(cellblock: Server, language: str) -> None:
    first, second = (cellblock.execute(language, LEAVE[language]) for _ in range(2))
    assert "left" not in first["output"], first
    assert first["output"] == second["output"] != ""


@EVERY
def test_the_walls_hold(cellblock: Server, language: str) -> None:
    """The network, the host's files and a read-only file system, asked in each language's own way."""
    answer = cellblock.execute(language, WALLS[language])
    assert (answer["success"], "yes" in answer["output"], answer["output"] != "") == (True, False, True), answer


@pytest.mark.parametrize("in_two_files", [False, True])
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_compiler_gets_the_options_that_its_toolchain_takes(language: str, in_two_files: bool) -> None:
    """By Judge0's dialect, whose ids of the two are 50 and 54."""
    with Server(languages=[language], dialects=["judge0"]) as running:
        other = "int other(void) { return WANTED; }"
        first = "int other(void);" if in_two_files else other
        fields = {
            "source_code": f'#include <stdio.h>\n{first}\nint main(void) {{ printf("%d\\n", other()); }}',
            "language_id": {"c": 50, "cpp": 54}[language],
            "compiler_options": "-DWANTED=42 -O0 -Wall",
        }
        if in_two_files:
            zipped = io.BytesIO()
            with zipfile.ZipFile(zipped, "w") as archive:
                archive.writestr(f"other.{language}", other)
            fields["additional_files"] = base64.b64encode(zipped.getvalue()).decode()
        answer = running.request(
            "POST", "/judge0/submissions?wait=true", json.dumps(fields).encode(), {"Content-Type": "application/json"}
        )
        assert (answer.status, answer.json["stdout"]) == (201, "42\n"), answer.text
