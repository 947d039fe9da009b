"""Tests of many megabytes: a validator of one's own gets them, or the package is refused before anything is graded."""

import random

import pytest

from tests.functional.test_grade_command import YAML
from tests.functional.test_problems import grade, put
from tests.server import Server
from tests.small_packages import zip_bytes

MB = 1 << 20
SIZES = "' '.join(str(os.path.getsize(name)) for name in sys.argv[1:3])"
VALIDATOR = f"import os, sys\nsys.exit(42 if input() == {SIZES} else 43)\n"
INTERACTOR = f"import os, sys\nprint({SIZES}, flush=True)\nsys.exit(42 if input() == {SIZES} else 43)\n"


def package(input_bytes: int, answer_bytes: int, judge: str, kind: str) -> bytes:
    return zip_bytes({
        "problem.yaml": f"{YAML}validation: {kind}\n", ".timelimit": "2\n", "output_validators/judge.py": judge,
        "data/secret/1.in": b"7" * input_bytes, "data/secret/1.ans": b"8" * answer_bytes,
        "attachments/noise": random.Random(1).randbytes(MB),  # so that the zip shrinks no more than an honest one
    })  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "judge", "code"),
    [
        ("custom", VALIDATOR, f"print({100 * MB}, {70 * MB})"),
        ("custom interactive", INTERACTOR, "print(input())"),
    ],
)
@pytest.mark.slow
def test_a_validator_gets_more_than_a_hundred_megabytes(cellblock: Server, kind: str, judge: str, code: str) -> None:
    answer = put(cellblock, "large", package(100 * MB, 70 * MB, judge, kind))
    assert answer.status in (200, 201), answer.text
    assert [(one["verdict"], one["reason"]) for one in grade(cellblock, "large", code)["tests"]] == [("AC", None)]
    cellblock.request("DELETE", "/problems/large")


@pytest.mark.slow
def test_a_test_that_no_validator_may_be_given_refuses_the_package() -> None:
    """Each problem of one server whose bound is low; without a validator there is none."""
    with Server(languages=["python"], body_bytes_max=MB, grade_output_mb_max=1, judge_data_mb=2) as server:
        answer = put(server, "large", package(MB, MB + 1, VALIDATOR, "custom"))
        assert (answer.status, answer.json["code"]) == (400, "cannot_grade")
        said = "secret/1: input and answer are larger than the 2 MB that a validator may be given"
        assert answer.json["detail"].endswith(said)
        assert put(server, "large", package(MB, MB, VALIDATOR, "custom")).status == 201
        assert grade(server, "large", f"print({MB}, {MB})")["verdict"] == "AC"
        large = zip_bytes(
            {"problem.yaml": YAML, ".timelimit": "2\n", "data/secret/1.in": "", "data/secret/1.ans": "8" * 3 * MB}
        )
        assert put(server, "large", large).status == 200
        assert grade(server, "large", "print('8')")["verdict"] == "WA"
