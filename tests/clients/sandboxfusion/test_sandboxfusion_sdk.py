"""SandboxFusion's SDK from PyPI, unmodified, in a virtual environment of its own: only its address is another."""

import base64
import collections.abc
import json
import pathlib
import re
import subprocess
from typing import Any

import pytest

from tests.documents import ROOT
from tests.server import PREFIX, Server

HERE = pathlib.Path(__file__).parent
PYTHON = PREFIX / "clients/sandboxfusion/bin/python"
LANGUAGES = ["bash", "cpp", "go", "java", "javascript", "python", "rust", "typescript"]
HELLO = ("python", "cpp", "java", "nodejs", "typescript", "go", "rust", "bash", "async")

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def url() -> collections.abc.Iterator[str]:
    with Server(languages=LANGUAGES, dialects=["sandboxfusion"]) as server:
        yield f"http://localhost:{server.port}"


@pytest.fixture(scope="module")
def found(url: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(run(str(HERE / "calls.py"), url))
    return answers


def run(*arguments: str) -> str:
    done = subprocess.run([PYTHON, *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", HELLO)
def test_program_in_each_language_says_hello(found: dict[str, Any], name: str) -> None:
    answer = found[name]
    assert (answer["status"], answer["summary"], answer["run_result"]["stdout"]) == ("Success", "Success", "hello\n")


@pytest.mark.parametrize(
    ("name", "summary", "code"), [("fails", "RF", 3), ("raises", "RF", 1), ("is too slow", "RT", None)]
)
def test_run_that_fails_is_summed_up_by_the_sdk(
    found: dict[str, Any], name: str, summary: str, code: int | None
) -> None:
    answer = found[name]
    assert (answer["status"], answer["summary"], answer["run_result"]["return_code"]) == ("Failed", summary, code)


def test_compilation_that_fails_is_summed_up_by_the_sdk(found: dict[str, Any]) -> None:
    assert (found["does not compile"]["summary"], found["does not compile"]["run_result"]) == ("CF", None)
    assert "expected" in found["does not compile"]["compile_result"]["stderr"]
    assert found["compiles too slowly"]["summary"] == "CT"


def test_files_come_and_go(found: dict[str, Any]) -> None:
    assert found["files"]["files"] == {"out/b": base64.b64encode(bytes(range(256))[::-1]).decode()}


def test_what_is_not_run_here_is_a_failure_or_an_error(found: dict[str, Any]) -> None:
    assert found["is forbidden"]["summary"] == "Failed"
    assert "422" in found["unknown"]
    assert "Unsupported language: perl" in found["unknown"]


def test_none_of_64_clients_at_once_is_refused(found: dict[str, Any]) -> None:
    assert found["many"] == [f"{number}\n" for number in range(200)]


def test_the_documented_loop_runs(url: str) -> None:
    page = (ROOT / "docs/dialects-sandboxfusion.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert run("-c", code.replace("http://localhost:8000", url)) == "100\n"
