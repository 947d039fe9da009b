"""Clients of Piston from PyPI and npm, unmodified, in folders of their own: only their address is another."""

import collections.abc
import json
import pathlib
import shutil
import subprocess
from typing import Any

import pytest

from tests.server import PREFIX, Server

HERE = pathlib.Path(__file__).parent
CLIENTS = PREFIX / "clients/piston"
LANGUAGES = ["bash", "cpp", "go", "java", "javascript", "python", "rust", "typescript"]
HELLO = ("python", "c++", "rust", "typescript", "java", "go", "bash", "javascript")

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> collections.abc.Iterator[Server]:
    with Server(languages=LANGUAGES, dialects=["piston"]) as running:
        yield running


def said_by(*command: str | pathlib.Path) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def python(server: Server) -> dict[str, Any]:
    """Of ultra-piston, which is told the address up to the version."""
    return said_by(CLIENTS / "bin/python", HERE / "calls.py", f"http://localhost:{server.port}/api/v2", "")


@pytest.fixture(scope="module")
def npm(server: Server) -> dict[str, Any]:
    """Of piston-api, which finds its modules beside the script."""
    script = shutil.copy(HERE / "calls.cjs", CLIENTS)
    return said_by(CLIENTS / "bin/node", script, f"http://localhost:{server.port}")


@pytest.mark.parametrize("language", HELLO)
def test_program_in_each_language_says_hello(python: dict[str, Any], language: str) -> None:
    answer = python["hello"][language]
    assert (answer["language"], answer["run"]["output"], answer["run"]["code"]) == (language, "hello\n", 0)


def test_what_the_server_has_is_listed(python: dict[str, Any]) -> None:
    assert {one["language"] for one in python["runtimes"]} == set(HELLO)
    assert all(one["installed"] for one in python["packages"])


def test_input_and_arguments_come_to_the_program(python: dict[str, Any]) -> None:
    assert python["async"]["run"]["stdout"] == "hello\n"
    assert python["arguments"]["run"]["stdout"] == "['a', 'b c']\n"


def test_what_fails_is_told_as_the_client_expects_it(python: dict[str, Any]) -> None:
    assert (python["fails"]["run"]["code"], python["fails"]["run"]["stderr"]) == (3, "no\n")
    assert (python["is too slow"]["run"]["code"], python["is too slow"]["run"]["signal"]) == (None, "SIGKILL")
    assert python["does not compile"]["compile"]["code"] == 1
    assert "cannot find value" in python["does not compile"]["compile"]["stderr"]
    assert (python["unknown"], python["too much"]) == ({"status": 400}, {"status": 400})


def test_client_that_checks_each_field_finds_what_it_expects(npm: dict[str, Any]) -> None:
    """A program that was kept is told with numbers, too."""
    assert (npm["valid"], npm["runtimes"], npm["packages"]) == (True, len(HELLO), len(HELLO))
    assert [npm[name]["run"]["stdout"] for name in ("hello", "again")] == ["hello", "again"]
    assert npm["again"]["compile"]["memory"] == 0
    assert npm["unknown"] == "API Error: cobol-* runtime is unknown"
    assert npm["install"].startswith("API Error: Packages are neither installed nor removed")


def test_program_is_talked_to_by_a_session(npm: dict[str, Any]) -> None:
    expected = {"stages": ["run"], "output": "> = 5\n> ", "code": 0}
    assert npm["calculator"] == expected


def test_session_is_interrupted(npm: dict[str, Any]) -> None:
    assert npm["interrupted"] == {"stages": ["run"], "output": "ready\n", "code": 5}
