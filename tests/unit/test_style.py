"""The code passes its linters: ruff, its formatter, and mypy --strict."""

import pathlib
import subprocess
import sys

import pytest

BIN = pathlib.Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "--no-cache"], ["ruff", "format", "--check", "--no-cache"], ["mypy", "--cache-dir=/dev/null"]],
    ids=["ruff", "format", "mypy"],
)
def test_linter_is_content(command: list[str], repository: pathlib.Path) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
