"""Judge0's SDK from PyPI, unmodified, in a virtual environment of its own: only its addresses are others."""

import collections.abc
import json
import pathlib
import subprocess
from typing import Any

import pytest

from tests.server import PREFIX, Server

HERE = pathlib.Path(__file__).parent
PYTHON = PREFIX / "clients/judge0/bin/python"
ACCEPTED, WRONG, TOO_SLOW, DOES_NOT_COMPILE, NONZERO = 3, 4, 5, 6, 11  # ids of Judge0's /statuses

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def found() -> collections.abc.Iterator[dict[str, Any]]:
    with Server(languages=["python", "cpp"], dialects=["judge0"]) as server:
        url = f"http://localhost:{server.port}"
        done = subprocess.run(
            [PYTHON, HERE / "calls.py", url], capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "status", "stdout"),
    [
        ("hello", ACCEPTED, "hello\n"),
        ("stdin", ACCEPTED, "Hello, you!\n"),
        ("later", ACCEPTED, "Hello, later!\n"),
        ("c++", ACCEPTED, "hello\n"),
        ("files", ACCEPTED, "from a file\n"),
        ("fails", NONZERO, None),
        ("too slow", TOO_SLOW, None),
        ("does not compile", DOES_NOT_COMPILE, None),
    ],
)
def test_the_sdk_is_told_what_became_of_it(found: dict[str, Any], name: str, status: int, stdout: str | None) -> None:
    assert (found[name]["status"], found[name]["stdout"]) == (status, stdout), found[name]


def test_diagnostics_are_told(found: dict[str, Any]) -> None:
    assert "at end of input" in found["does not compile"]["compile"]


def test_each_case_has_its_own_verdict(found: dict[str, Any]) -> None:
    assert [(one["status"], one["stdout"]) for one in found["cases"]] == [
        (ACCEPTED, "Hello, Bob!\n"), (WRONG, "Hello, Eve!\n")
    ]  # fmt: skip
