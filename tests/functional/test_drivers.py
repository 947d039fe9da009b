"""Problems whose package has the main file: a contestant writes a function, and a driver calls it."""

import pytest

from tests import small_packages
from tests.functional.test_problems import JSON, grade, grading, put
from tests.server import Server
from tests.small_packages import with_files

PACKAGE = with_files(
    small_packages.LEGACY,
    {
        "problem.yaml": "name: Sum\nlimits:\n  time_limit: 3\n",
        "include/python3/main.py": "import add\nprint(add.of(*map(int, input().split())))\n",
        "submissions/accepted/sum.py": None, "submissions/accepted/add.py": "def of(a, b):\n    return a + b\n",
    },
)  # fmt: skip


@pytest.mark.parametrize(("operator", "verdict"), [("+", "AC"), ("-", "WA")])
def test_a_driver_calls_what_the_submission_has_under_its_name(cellblock: Server, operator: str, verdict: str) -> None:
    assert put(cellblock, "driven", PACKAGE).status in (200, 201)
    found = grade(cellblock, "driven", f"def of(a, b):\n    return a {operator} b\n", name="add.py")
    assert found["verdict"] == verdict


def test_a_submission_to_a_driver_without_a_name_is_refused(cellblock: Server) -> None:
    assert put(cellblock, "driven", PACKAGE).status in (200, 201)
    for fields, status, said in (
        ({}, 400, "include/python3/main.py is the main file: it needs the name of the submission's file"),
        ({"name": "../add.py"}, 400, "name"),
    ):
        answer = cellblock.request("POST", "/problems/driven/grade", grading("pass", **fields), JSON)
        assert answer.status == status and said in answer.text, answer.text
