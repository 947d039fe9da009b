"""Checkers, interactors and submissions that talk, in each language that contestants use."""

import json
from typing import Any

import pytest

from tests.functional.test_problems import grade, put
from tests.server import Server

from .judge_programs import GUESSES, ICPC, INTERACTORS, TESTLIB_CHECKER, TESTLIB_HEADER
from .programs import SUM

YAML = "problem_format_version: legacy\nname: Guess\nvalidation: custom interactive\nlimits:\n  time_limit: 5\n"
SUBMISSION = "print(7)"
TESTS = [{"expected": "7"}, {"expected": "8"}]


def checked(server: Server, checker: dict[str, Any]) -> list[tuple[str, str]]:
    """The verdict and the checker's message of each test of a submission that prints 7."""
    body = {"code": SUBMISSION, "language": "python", "tests": TESTS, "checker": {"kind": "custom", **checker}}
    answer = server.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert answer.status == 200, answer.text
    return [(test["verdict"], test["checker_message"]) for test in answer.json["tests"]]


@pytest.mark.parametrize("language", ICPC)
def test_a_checker_accepts_and_rejects_and_what_it_was_compiled_to_is_kept(cellblock: Server, language: str) -> None:
    checker = {"language": language, "code": ICPC[language]}
    assert checked(cellblock, checker) == [("AC", "got 7"), ("WA", "got 7")]
    if language not in ("javascript", "pypy"):
        assert cellblock.execute(language, ICPC[language])["cached"]


def test_a_checker_may_be_written_with_a_header_as_testlibs_are(cellblock: Server) -> None:
    files = [{"name": "judge.h", "content": TESTLIB_HEADER}]
    checker = {"language": "cpp", "code": TESTLIB_CHECKER, "files": files, "protocol": "testlib"}
    assert checked(cellblock, checker) == [("AC", "got 7"), ("WA", "got 7")]
    assert cellblock.execute("cpp", TESTLIB_CHECKER, files=files)["cached"]


@pytest.mark.parametrize("judge", INTERACTORS)
def test_an_interactor_talks_with_a_submission_of_each_language(cellblock: Server, judge: str) -> None:
    name, code = INTERACTORS[judge]
    package = {
        "problem.yaml": YAML, "data/secret/1.in": "1\n", "data/secret/1.ans": "\n", "data/secret/2.in": "777\n",
        "data/secret/2.ans": "\n", f"output_validators/{name}": code,
    }  # fmt: skip
    assert put(cellblock, "guess", package).status in (200, 201)
    for language, guesses in GUESSES.items():
        tests = grade(cellblock, "guess", guesses, language)["tests"]
        assert [test["verdict"] for test in tests] == ["AC", "AC"], (language, tests)
    (test,) = grade(cellblock, "guess", SUM["cpp"].replace("std::cin >> n", "false"), "cpp", stop_on_failure=True)[
        "tests"
    ][:1]
    assert test["verdict"] == "WA", test
