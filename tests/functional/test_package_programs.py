"""Packages with programs of their own beside one output validator: several, graders of groups, included files."""

import json
import pathlib
from typing import Any

import pytest

from tests import small_packages
from tests.functional.test_grade_command import ADD, DATA, MULTI_PASS, SCORING, YAML, grade
from tests.small_packages import Files, with_files

CUSTOM = YAML + "validation: custom\n"
EQUAL = "import sys\nsys.exit(42 if sys.stdin.read().split() == open(sys.argv[2]).read().split() else 43)\n"
NO_PLUS = "import sys\nsys.exit(43 if '+' in sys.stdin.read() else 42)\n"
BOTH_ACCEPT = {
    "problem.yaml": CUSTOM, **DATA,
    "output_validators/equal.py": EQUAL, "output_validators/no_plus.py": NO_PLUS,
    "submissions/accepted/add.py": ADD,
    "submissions/wrong_answer/first_rejects.py": "print(7)\n",
    "submissions/wrong_answer/second_rejects.py": "print('30 +' if input() == '10 20' else 3)\n",
}  # fmt: skip
MEAN = """
import sys
results = [line.split() for line in sys.stdin]
print("note", file=sys.stderr)
print("AC", sum(float(score) for code, score in results if code == "AC") * float(sys.argv[1]))
"""
OWN_GRADER = with_files(
    SCORING,
    {
        "graders/mean.py": MEAN,
        "data/secret/testdata.yaml": "on_reject: continue\ngrading: custom\ngrader_flags: '0.5'\nrange: 0 100\n",
        "data/secret/small/testdata.yaml": "grading: default\ngrader_flags: min\naccept_score: 40\n",
        "data/secret/large/testdata.yaml": "grading: default\ngrader_flags: min\naccept_score: 60\n",
    },
)
INCLUDED = {
    "problem.yaml": YAML, **DATA,
    "include/python3/plus.py": "def plus(line):\n    return sum(map(int, line.split()))\n",
    "submissions/accepted/calls.py": "from plus import plus\nprint(plus(input()))\n",
    "submissions/accepted/own/__main__.py": "from plus import plus\nprint(plus(input()))\n",
    "submissions/accepted/own/plus.py": "raise ValueError('the package has a file of this name, which goes first')\n",
}  # fmt: skip


def rows(root: pathlib.Path, files: Files, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    """What came of each submission, by its name."""
    done = grade(small_packages.write(root / "package", files), "--json")
    assert done.returncode == exit_code, done.stdout + done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["submissions"]}


@pytest.mark.slow
def test_each_of_several_validators_must_accept(tmp_path: pathlib.Path) -> None:
    found = rows(tmp_path, BOTH_ACCEPT)
    assert {name: row["verdict"] for name, row in found.items()} == {
        "accepted/add.py": "AC", "wrong_answer/first_rejects.py": "WA", "wrong_answer/second_rejects.py": "WA",
    }  # fmt: skip


def test_a_validator_that_fails_makes_ie_whatever_the_others_say(tmp_path: pathlib.Path) -> None:
    files = with_files(BOTH_ACCEPT, {"output_validators/no_plus.py": "raise ValueError('no idea')\n"})
    row = rows(tmp_path, files, exit_code=1)["accepted/add.py"]
    assert row["verdict"] == "IE"
    assert "no idea" in row["tests"][0]["reason"]


def test_a_grader_of_the_package_grades_the_groups_that_ask_for_it(tmp_path: pathlib.Path) -> None:
    found = rows(tmp_path, OWN_GRADER)
    assert {name: row["score"] for name, row in found.items()} == {
        "accepted/echo.py": 50, "partially_accepted/short.py": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("grader", "problem"),
    [
        ("print('AC')\n", "secret: the grader printed no result: 'AC'"),
        pytest.param("print('AC nan')\n", "secret: the grader printed no result: 'AC nan'", marks=pytest.mark.slow),
        pytest.param("raise SystemExit(3)\n", "secret: the grader ended with code 3", marks=pytest.mark.slow),
    ],
)
def test_a_grader_without_a_result_makes_ie(tmp_path: pathlib.Path, grader: str, problem: str) -> None:
    row = rows(tmp_path, with_files(OWN_GRADER, {"graders/mean.py": grader}), exit_code=1)["accepted/echo.py"]
    assert (row["verdict"], row["problems"]) == ("IE", [problem])


@pytest.mark.slow
def test_included_files_lie_beside_the_submission_over_its_own(tmp_path: pathlib.Path) -> None:
    found = rows(tmp_path, INCLUDED)
    assert {name: row["verdict"] for name, row in found.items()} == {
        "accepted/calls.py": "AC", "accepted/own": "AC",
    }  # fmt: skip


@pytest.mark.slow
def test_one_submission_that_cannot_be_run_does_not_stop_the_others(tmp_path: pathlib.Path) -> None:
    files = with_files(
        INCLUDED, {"submissions/accepted/two/one.py": "print(1)\n", "submissions/accepted/two/two.py": "print(2)\n"}
    )
    found = rows(tmp_path, files)
    assert found["accepted/calls.py"]["verdict"] == "AC"
    assert found["accepted/two"]["skipped"] == "several files, and none of them is main.py"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"output_validators/judge/equal.cob": ""}, "output_validators/judge: no toolchain for cobol"),
        ({"output_validators/equal.rs": "fn main() {"}, "the checker does not compile: error: this file contains"),
        ({"problem.yaml": CUSTOM + "type: scoring\n", "data/testdata.yaml": "grading: custom\n"},
         "testdata.yaml says grading: custom, but graders/ has no program"),
        ({"problem.yaml": MULTI_PASS["problem.yaml"], "output_validator/one.py": EQUAL, "output_validator/b/b.py": EQUAL},
         "more than one output validator, of which each would have to talk with the submission"),
    ],
)  # fmt: skip
def test_what_cannot_judge_is_said_before_anything_is_graded(
    tmp_path: pathlib.Path, changes: dict[str, str | bytes | None], sentence: str
) -> None:
    done = grade(small_packages.write(tmp_path / "package", with_files(BOTH_ACCEPT, changes)))
    assert done.returncode == 125, done.stdout + done.stderr
    assert done.stderr.startswith(f"cellblock: {sentence}")
    assert "Traceback" not in done.stderr


COUNTS = {
    "problem.yaml": MULTI_PASS["problem.yaml"],
    "data/secret/1.in": "start\n", "data/secret/1.ans": "\n",
    "output_validator/judge.py": """
import os, sys
feedback = sys.argv[3]
said = sys.stdin.read().split()[0]
deep = os.path.join(feedback, "own", "said")
os.makedirs(os.path.dirname(deep), exist_ok=True)
with open(deep, "a") as file:
    file.write(said)
with open(os.path.join(feedback, "judgemessage.txt"), "a") as file:
    file.write(said + ";")
assert not os.path.exists(feedback + "nextpass.in")
if open(deep).read() == "012":
    sys.exit(42)
open(feedback + "nextpass.in", "w").write(str(int(said) + 1))
sys.exit(42)
""",
    "submissions/accepted/echo.py": "given = input()\nprint(0 if given == 'start' else given)\n",
}  # fmt: skip


@pytest.mark.slow
def test_the_feedback_folder_is_kept_between_the_passes(tmp_path: pathlib.Path) -> None:
    """2025-09, "Multi-pass validation": all files but nextpass.in."""
    (test,) = rows(tmp_path, COUNTS)["accepted/echo.py"]["tests"]
    assert (test["verdict"], test["message"]) == ("AC", "0;1;2;")


@pytest.mark.slow
def test_each_pass_has_the_time_limit_for_itself(tmp_path: pathlib.Path) -> None:
    """2025-09, "Multi-pass validation". What is told is the time of the slowest pass."""
    works = "import time\nwhile time.process_time() < 0.5: pass\n"
    files = with_files(COUNTS, {"submissions/accepted/echo.py": works + str(COUNTS["submissions/accepted/echo.py"])})
    (test,) = rows(tmp_path, files)["accepted/echo.py"]["tests"]
    assert test["verdict"] == "AC"
    assert 400_000_000 <= test["cpu_ns"] < 1_000_000_000


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        ("for n in range(1100): open(f'{feedback}{n}', 'w')", "the checker left no feedback that can be kept"),
        pytest.param(
            "for n in range(3): open(f'{feedback}{n}', 'wb').write(bytes(30 << 20))",
            "the checker left no feedback",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "open(feedback + 'nextpass.in', 'w')\nsys.exit(43)",
            "the checker rejects, and asks for another pass",
            marks=pytest.mark.slow,
        ),
        ("open(feedback + 'nextpass.in', 'w').write('1')", "the checker asks for more than 3 passes"),
    ],
)
def test_feedback_against_the_rules_is_ie(tmp_path: pathlib.Path, judge: str, reason: str) -> None:
    judge = f"import sys\nfeedback = sys.argv[3]\n{judge}\nsys.exit(42)\n"
    files = with_files(COUNTS, {"output_validator/judge.py": judge})
    row = rows(tmp_path, files, exit_code=1)["accepted/echo.py"]
    assert row["verdict"] == "IE"
    assert row["tests"][0]["reason"].startswith(reason)


MULTIPLIED = {
    "problem.yaml": MULTI_PASS["problem.yaml"].replace("multi-pass", "scoring").replace("  validation_passes: 3\n", ""),
    "data/secret/test_group.yaml": "max_score: 100\n",
    "data/secret/1.in": "1\n", "data/secret/1.ans": "\n",
    "data/secret/2.in": "2\n", "data/secret/2.ans": "\n",
    "output_validator/judge.py": """
import sys
name, value = sys.stdin.read().split()
open(sys.argv[3] + name, "w").write(value)
sys.exit(42)
""",
    "submissions/accepted/quarter.py": "print('score_multiplier.txt', 0.25)\n",
    "submissions/accepted/points.py": "print('score.txt', 20)\n",
    "submissions/accepted/mixed.py": "print(*[('score.txt', 20), ('score_multiplier.txt', 0.5)][input() == '1'])\n",
}  # fmt: skip


@pytest.mark.slow
def test_a_validator_gives_points_or_multiplies_those_of_the_test(tmp_path: pathlib.Path) -> None:
    """2025-09, "Scoring test cases"."""
    found = rows(tmp_path, MULTIPLIED)
    assert {name: row["score"] for name, row in found.items()} == {
        "accepted/quarter.py": 25, "accepted/points.py": 40, "accepted/mixed.py": 45,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1.5", "the multiplier 1.5 is not 0..1"),
        pytest.param("much", "the checker's score_multiplier.txt is no finite number: 'much'", marks=pytest.mark.slow),
    ],
)
def test_a_multiplier_that_is_none_is_ie(tmp_path: pathlib.Path, value: str, reason: str) -> None:
    files = with_files(MULTIPLIED, {"submissions/accepted/quarter.py": f"print('score_multiplier.txt', '{value}')\n"})
    row = rows(tmp_path, files, exit_code=1)["accepted/quarter.py"]
    assert (row["verdict"], row["tests"][0]["reason"]) == ("IE", reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "judge", "reason"),
    [
        ("validation_time: 1", "while True: pass", "the checker met its cpu limit"),
        ("validation_memory: 64", "bytearray(80 << 20)", "the checker met its memory limit"),
    ],
)
def test_the_package_limits_its_validator(tmp_path: pathlib.Path, limit: str, judge: str, reason: str) -> None:
    yaml = f"{CUSTOM}limits:\n  {limit}\n"
    files = {"problem.yaml": yaml, **DATA, "submissions/accepted/add.py": ADD, "output_validators/judge.py": judge}
    row = rows(tmp_path, files, exit_code=1)["accepted/add.py"]
    assert (row["verdict"], row["tests"][0]["reason"]) == ("IE", reason)


FLOOD = {
    "problem.yaml": YAML + "validation: custom interactive\n",
    "data/secret/1.in": "10\n", "data/secret/1.ans": "\n",
    "data/secret/2.in": "2000000\n", "data/secret/2.ans": "\n",
    "output_validators/judge.py": """
import sys
count = int(open(sys.argv[1]).read())
print("\\n".join(["7"] * count) + "\\n0", flush=True)
sys.exit(42 if sys.stdin.readline().strip() == str(7 * count) else 43)
""",
    "submissions/accepted/sum.rs": """
use std::io::BufRead;
fn main() {
    let numbers = std::io::stdin().lock().lines().map(|line| line.unwrap().parse::<u64>().unwrap());
    println!("{}", numbers.take_while(|n| *n != 0).sum::<u64>());
}
""",
}  # fmt: skip


@pytest.mark.slow
def test_an_interactor_may_say_megabytes(tmp_path: pathlib.Path) -> None:
    row = rows(tmp_path, FLOOD)["accepted/sum.rs"]
    assert row["verdict"] == "AC"


def test_an_interactor_without_end_is_ie_at_once_and_not_the_submissions_fault(tmp_path: pathlib.Path) -> None:
    files = {
        "output_validators/judge.py": "import sys\nwhile True: sys.stdout.write('7' * 1000000)\n",
        "submissions/accepted/sum.rs": "fn main() { std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap(); }",
    }
    row = rows(tmp_path, with_files(FLOOD, files), exit_code=1)["accepted/sum.rs"]
    (first, *_) = row["tests"]
    assert first["verdict"] == "IE"
    assert first["reason"].startswith(
        "the interactor met its output limit"
    )  # it may have had the time to tell of its broken pipe


@pytest.mark.slow
def test_what_does_not_compile_has_no_score_and_is_explained(tmp_path: pathlib.Path) -> None:
    files = {"problem.yaml": YAML, **DATA, "submissions/wrong_answer/half.rs": "fn main() {"}
    package = small_packages.write(tmp_path / "package", files)
    (row,) = json.loads(grade(package, "--json").stdout)["submissions"]
    assert (row["verdict"], row["score"], row["as_promised"]) == ("CE", None, False)
    done = grade(package)
    assert done.returncode == 1
    assert "wrong_answer/half.rs: CE: error: this file contains an unclosed delimiter" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 kept, 1 broken, 0 not run"


@pytest.mark.slow
def test_links_out_of_a_package_are_left_out_unless_they_stay_in_the_named_folder(tmp_path: pathlib.Path) -> None:
    package = small_packages.write(tmp_path / "package", {"problem.yaml": YAML, **DATA})
    small_packages.write(tmp_path, {"shared/add.py": ADD})
    (package / "submissions/accepted").mkdir(parents=True)
    (package / "submissions/accepted/add.py").symlink_to("../../../shared/add.py")
    alone = grade(package)
    assert "warning: submissions/accepted/add.py: is left out" in alone.stderr
    assert "0 kept, 0 broken, 0 not run" in alone.stdout
    assert "1 kept" in grade(package, "--links-within", tmp_path).stdout
