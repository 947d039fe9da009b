"""Figures that are printed and recorded, and never decide whether a test passes.

Each session ends with a table of them; with CELLBLOCK_TEST_FIGURES=FILE a JSON object a line is appended to FILE.
"""

import collections.abc
import json
import os
import time

import pytest

Record = collections.abc.Callable[[str, float, str], None]
FIGURES = pytest.StashKey[list[dict[str, object]]]()


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """`record(name, value, unit)`."""

    def record(name: str, value: float, unit: str) -> None:
        figures = request.config.stash.setdefault(FIGURES, [])
        figures.append({"name": name, "value": round(value, 3), "unit": unit, "at": round(time.time())})

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = terminalreporter.config.stash.get(FIGURES, [])
    for figure in figures:
        terminalreporter.write_line(f"{figure['name']:<64} {figure['value']:>10} {figure['unit']}")
    path = os.environ.get("CELLBLOCK_TEST_FIGURES")
    if path is not None:
        with open(path, "a") as file:
            file.writelines(f"{json.dumps(figure)}\n" for figure in figures)
