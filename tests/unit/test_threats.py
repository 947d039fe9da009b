"""Every row of docs/threats.md is named by a test that proves it, and every row that a test names is there."""

import ast
import pathlib
import re

from tests.documents import ROOT

PAGE = ROOT / "docs" / "threats.md"


def rows() -> list[str]:
    return re.findall(r"^\| ([A-Z][0-9]+) \|", PAGE.read_text(), re.MULTILINE)


def named_in(path: pathlib.Path) -> dict[str, set[str]]:
    """Row -> the tests of this file that a `threat` mark gives it to."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.threat":
                for row in mark.args:
                    found.setdefault(str(ast.literal_eval(row)), set()).add(f"{path.name}::{node.name}")
    return found


def named() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for row, tests in named_in(path).items():
            found.setdefault(row, set()).update(tests)
    return found


def test_every_row_has_a_test_and_every_name_is_a_row() -> None:
    assert set(named()) == set(rows())


def test_no_row_is_there_twice() -> None:
    assert len(rows()) == len(set(rows())) > 50


def test_a_mark_is_found_on_tests_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "test_small.py"
    path.write_text(
        '@pytest.mark.threat("A1", "A2")\n@pytest.mark.slow\nasync def test_one(): pass\n\n'
        '@pytest.mark.threat("A1")\ndef test_two(): pass\n\n@pytest.mark.threat("A3")\ndef helper(): pass\n'
    )
    assert named_in(path) == {
        "A1": {"test_small.py::test_one", "test_small.py::test_two"},
        "A2": {"test_small.py::test_one"},
    }
