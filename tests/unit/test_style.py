"""The code passes its linters, ruff, its formatter and mypy --strict, and no part of it is too long."""

import ast
import pathlib
import subprocess
import sys

import pytest

BIN = pathlib.Path(sys.executable).parent
ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "--no-cache"], ["ruff", "format", "--check", "--no-cache"], ["mypy", "--cache-dir=/dev/null"]],
    ids=["ruff", "format", "mypy"],
)
def test_linter_is_content(command: list[str], repository: pathlib.Path) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


TABLES = {"daemon/sandbox/messages.py"}  # one table: a message after the other
FILES = sorted([*(ROOT / "daemon").rglob("*.py"), *(ROOT / "clients" / "python").rglob("*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_too_long_to_be_read_at_once(path: pathlib.Path) -> None:
    """No function over 60 lines, no class over 250, no file over 350 but tables."""
    text = path.read_text()
    if str(path.relative_to(ROOT)) not in TABLES:
        assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            most = 250 if isinstance(node, ast.ClassDef) else 60
            assert (node.end_lineno or 0) - node.lineno < most, f"{node.name}, line {node.lineno}"
