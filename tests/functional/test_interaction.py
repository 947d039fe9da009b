"""A submission and an interactor, of which one ends before the other: the verdict is never a matter of who was quicker."""

import time

import pytest

from daemon.bench import fairness
from tests.functional.test_grade_command import YAML
from tests.functional.test_problems import grade, put
from tests.server import Server

FIRST = """
import sys
sys.exit(int(open(sys.argv[1]).read()))
"""  # says nothing and gives the verdict that its input names
LAST = """
import sys
words = sys.stdin.read().split()
for _ in range(1000): print("7" * 1000, flush=True)
sys.exit(42 if words == ["right"] else 43)
"""  # says a megabyte when the submission is gone
TALKS_ON = "import sys\nsys.stdin.read()\nfor _ in range(1000): print('7' * 1000, flush=True)\n"
FLOODS = "import sys\nsys.stdin.read()\nwhile True: print('7' * 1000, flush=True)\n"


def verdict(server: Server, interactor: str, given: str, code: str, limit_s: int = 2) -> tuple[str, str]:
    """Of the only test, with the reason or the interactor's message."""
    files: dict[str, str | bytes | None] = {
        "problem.yaml": YAML + "validation: custom interactive\n", ".timelimit": f"{limit_s}\n",
        "data/secret/1.in": given, "data/secret/1.ans": "\n", "output_validators/judge.py": interactor,
    }  # fmt: skip
    answer = put(server, "talk", files)
    assert answer.status in (200, 201), answer.text
    (test,) = grade(server, "talk", code)["tests"]
    return test["verdict"], test["reason"] or test["checker_message"]


@pytest.mark.parametrize(("code", "expected"), [("print('right')", "AC"), ("print('wrong')", "WA")])
def test_an_interactor_may_talk_to_a_submission_that_is_gone(cellblock: Server, code: str, expected: str) -> None:
    assert verdict(cellblock, LAST, "1\n", code) == (expected, "")


@pytest.mark.parametrize("code", [TALKS_ON, FLOODS], ids=["talks on", "floods"])
@pytest.mark.parametrize(("given", "expected"), [("42\n", "AC"), ("43\n", "WA")])
def test_what_a_submission_says_after_the_interactors_verdict_changes_nothing(
    cellblock: Server, code: str, given: str, expected: str
) -> None:
    assert verdict(cellblock, FIRST, given, code) == (expected, "")


def test_a_submission_that_fails_after_it_was_accepted_has_failed(cellblock: Server) -> None:
    assert verdict(cellblock, FIRST, "42\n", "import sys\nsys.stdin.read()\nsys.exit(3)\n") == ("RE", "exit code 3")


@pytest.mark.slow
def test_an_interactor_may_think_for_long_when_the_submission_is_gone(cellblock: Server) -> None:
    thinks = "import sys, time\nsys.stdin.read()\ntime.sleep(6)\nsys.exit(42)\n"
    assert verdict(cellblock, thinks, "1\n", "print('right')") == ("AC", "")


def test_nobody_waits_for_an_interactor_whose_word_does_not_count(cellblock: Server) -> None:
    endless = "while True: pass\n"
    begun_s, own_limit_s = time.monotonic(), 60
    assert verdict(cellblock, endless, "1\n", "raise SystemExit(3)") == ("RE", "exit code 3")
    assert time.monotonic() - begun_s < own_limit_s


def test_an_interactors_wall_limit_lies_beyond_the_submissions(cellblock: Server) -> None:
    """With a time limit whose wall limit is longer than that of other judges."""
    assert verdict(cellblock, LAST, "1\n", "print('right')", limit_s=30) == ("AC", "")


def test_an_interactor_may_log_more_than_is_kept(cellblock: Server) -> None:
    logs = "import sys\nsys.stderr.write('x' * 1000000)\n" + LAST
    assert verdict(cellblock, logs, "1\n", "print('right')") == ("AC", "")


CLOSES = "import os, sys\nos.close(1)\nsys.stdin.read()\nsys.exit(43)\n"
FAILS_AT_THE_END = "import sys\nsys.stdin.read()\nsys.exit(3)\n"


@pytest.mark.parametrize(
    ("interactor", "code", "expected"),
    [
        (CLOSES, "raise SystemExit(3)", ("RE", "exit code 3")),
        (CLOSES, FAILS_AT_THE_END, ("RE", "exit code 3")),
        (FIRST, FAILS_AT_THE_END, ("WA", "")),
        (FIRST, "import os\nos.close(1)\n" + FAILS_AT_THE_END, ("WA", "")),
    ],
    ids=["it fails", "it fails as nothing more comes", "it is rejected", "it is rejected in silence"],
)
def test_the_first_that_ends_decides_whatever_it_has_closed_before(
    cellblock: Server, interactor: str, code: str, expected: tuple[str, str]
) -> None:
    assert verdict(cellblock, interactor, "43\n", code) == expected


def test_an_interactor_that_ended_badly_is_named(cellblock: Server) -> None:
    expected = ("IE", "the interactor ended with code 7")
    assert verdict(cellblock, FIRST, "7\n", "import sys\nsys.stdin.read()\n") == expected


@pytest.mark.slow
def test_an_interactor_is_as_quick_beside_others_that_are_graded_as_alone(cellblock: Server) -> None:
    """Else a submission that waits for its answer would be too slow because somebody else is graded."""
    thinks = """
import sys, time
input()
while time.process_time() < 1: pass
print("go", flush=True)
sys.exit(42)
"""
    spin = "while True: pass"
    graded = {"language": "python", "code": spin, "tests": [{}], "limits": {"cpu_time": 0.5}}
    executed = {"language": "python", "code": spin, "timeout": 1}
    neighbours: list[fairness.Ask] = [
        lambda connection: connection.request("POST", "/grade", graded),
        lambda connection: connection.request("POST", "/execute", executed),
    ]
    with fairness.beside(f"http://127.0.0.1:{cellblock.port}", neighbours):
        assert verdict(cellblock, thinks, "1\n", "print(1, flush=True)\ninput()", limit_s=1) == ("AC", "")
