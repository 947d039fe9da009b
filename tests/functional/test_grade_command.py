"""`cellblock grade`: a problem package's example submissions get the verdicts that their folders promise, or exit 1."""

import json
import os
import pathlib
import subprocess

import pytest

from tests import small_packages
from tests.server import COMMAND

YAML = "problem_format_version: legacy\nname: Sum\nlimits:\n  time_limit: 1\n"
DATA = {
    "data/sample/1.in": "1 2\n", "data/sample/1.ans": "3\n",
    "data/secret/1.in": "10 20\n", "data/secret/1.ans": "30\n",
    "data/secret/2.in": "100 -1\n", "data/secret/2.ans": "99\n",
}  # fmt: skip
ADD = "print(sum(map(int, input().split())))\n"
SUM = {
    "problem.yaml": YAML, **DATA,
    "submissions/accepted/add.py": ADD,
    "submissions/accepted/add.rs": 'fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); println!("{}", s.split_whitespace().map(|x| x.parse::<i64>().unwrap()).sum::<i64>()); }',
    "submissions/wrong_answer/abs.py": "a, b = map(int, input().split())\nprint(abs(a) + abs(b))\n",
    "submissions/time_limit_exceeded/loop.py": "while True: pass\n",
    "submissions/run_time_error/raise.py": "raise ValueError\n",
    "submissions/accepted/other.cobol": "",
}  # fmt: skip
SCORING = {
    "problem.yaml": "problem_format_version: legacy\nname: Echo\ntype: scoring\nlimits:\n  time_limit: 1\n",
    "data/testdata.yaml": "on_reject: continue\ngrader_flags: ignore_sample accept_if_any_accepted\nrange: 0 100\n",
    "data/sample/1.in": "x\n", "data/sample/1.ans": "x\n",
    "data/secret/testdata.yaml": "on_reject: continue\ngrader_flags: sum accept_if_any_accepted\nrange: 0 100\n",
    "data/secret/small/testdata.yaml": "on_reject: break\ngrader_flags: min\naccept_score: 40\nrange: 0 40\n",
    "data/secret/small/1.in": "a\n", "data/secret/small/1.ans": "a\n",
    "data/secret/large/testdata.yaml": "on_reject: break\ngrader_flags: min\naccept_score: 60\nrange: 0 60\n",
    "data/secret/large/1.in": "aaaaaaaa\n", "data/secret/large/1.ans": "aaaaaaaa\n",
    "submissions/accepted/echo.py": "print(input())\n",
    "submissions/partially_accepted/short.py": "print(input()[:3])\n",
}  # fmt: skip
GUESS = {
    "problem.yaml": "problem_format_version: legacy\nname: Guess\nvalidation: custom interactive\nlimits:\n  time_limit: 1\n",
    "data/secret/1.in": "7\n", "data/secret/1.ans": "\n",
    "data/secret/2.in": "93\n", "data/secret/2.ans": "\n",
    "output_validators/judge.py": """
import sys
wanted = int(open(sys.argv[1]).read())
for turn in range(10):
    line = sys.stdin.readline()
    if not line.strip().isdigit():
        open(sys.argv[3] + "judgemessage.txt", "w").write("no guess")
        sys.exit(43)
    if int(line) == wanted:
        print("right", flush=True)
        sys.exit(42)
    print("lower" if int(line) > wanted else "higher", flush=True)
sys.exit(43)
""",
    "submissions/accepted/halves.py": """
low, high = 1, 100
while True:
    middle = (low + high) // 2
    print(middle, flush=True)
    match input():
        case "right": break
        case "lower": high = middle - 1
        case "higher": low = middle + 1
""",
    "submissions/wrong_answer/counts.py": "for n in range(1, 100):\n    print(n, flush=True)\n    if input() == 'right': break\n",
    "submissions/wrong_answer/says_nothing.py": "pass\n",
    "submissions/wrong_answer/talks_on.py": "while True: print('no number')\n",
    "submissions/time_limit_exceeded/does_not_flush.py": "import sys\nprint(50)\nsys.stdin.readline()\n",
    "submissions/time_limit_exceeded/thinks.py": "print(50, flush=True)\nwhile True: pass\n",
    "submissions/run_time_error/dies.py": "print(50, flush=True)\ninput()\n1 / 0\n",
}  # fmt: skip
MULTI_PASS = {
    "problem.yaml": "problem_format_version: 2025-09\nname: Twice\nuuid: 11111111-1111-4111-8111-111111111111\ntype: multi-pass\nlimits:\n  time_limit: 1\n  validation_passes: 3\n",
    "data/secret/1.in": "encode 5\n", "data/secret/1.ans": "5\n",
    "output_validator/judge.py": """
import sys
first = open(sys.argv[1]).read().split()
said = sys.stdin.read().strip()
if first[0] == "encode":
    open(sys.argv[3] + "nextpass.in", "w").write("decode " + said)
    sys.exit(42)
sys.exit(42 if said == open(sys.argv[2]).read().strip() else 43)
""",
    "submissions/accepted/code.py": "word, text = input().split()\nprint('x' + text if word == 'encode' else text[1:])\n",
    "submissions/wrong_answer/forgets.py": "print('x')\n",
}  # fmt: skip


def grade(path: pathlib.Path, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "grade", str(path), *map(str, options)], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(SUM, {"accepted/add.py": "AC", "accepted/add.rs": "AC", "wrong_answer/abs.py": "WA", "time_limit_exceeded/loop.py": "TLE", "run_time_error/raise.py": "RE"}, id="sum"),
        pytest.param(SCORING, {"accepted/echo.py": "AC", "partially_accepted/short.py": "AC"}, id="scoring"),
        pytest.param(GUESS, {name.removeprefix("submissions/"): {"accepted": "AC", "wrong_answer": "WA", "time_limit_exceeded": "TLE", "run_time_error": "RE"}[name.split("/")[1]] for name in GUESS if name.startswith("submissions/")}, id="interactive", marks=pytest.mark.slow),
        pytest.param(MULTI_PASS, {"accepted/code.py": "AC", "wrong_answer/forgets.py": "WA"}, id="multi-pass"),
    ],
)  # fmt: skip
def test_every_submission_gets_what_its_folder_promises(
    tmp_path: pathlib.Path, files: dict[str, str], expected: dict[str, str]
) -> None:
    done = grade(small_packages.write(tmp_path / "package", files), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["name"]: row["verdict"] for row in json.loads(done.stdout)["submissions"] if row["skipped"] is None}
    assert found == expected


def test_scores_are_those_of_the_groups(tmp_path: pathlib.Path) -> None:
    done = grade(small_packages.write(tmp_path / "package", SCORING), "--json")
    scores = {row["name"]: row["score"] for row in json.loads(done.stdout)["submissions"]}
    assert scores == {"accepted/echo.py": 100, "partially_accepted/short.py": 40}


@pytest.mark.slow
def test_whether_folder_and_score_agree_is_remarked(tmp_path: pathlib.Path) -> None:
    """Legacy, "Example submissions"; as in problemtools no promise is broken by it."""
    changes = {
        "submissions/accepted/short.py": SCORING["submissions/partially_accepted/short.py"],
        "submissions/partially_accepted/echo.py": SCORING["submissions/accepted/echo.py"],
    }
    done = grade(small_packages.write(tmp_path / "package", {**SCORING, **changes}), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["name"]: row["problems"] for row in json.loads(done.stdout)["submissions"]} == {
        "accepted/echo.py": [],
        "accepted/short.py": ["did not attain the full score, 100; it may belong in partially_accepted"],
        "partially_accepted/echo.py": ["was fully accepted, although its folder says partially"],
        "partially_accepted/short.py": [],
    }


@pytest.mark.slow
@pytest.mark.parametrize(("score", "promise"), [("40", "kept"), ("40.5", "broken")])
def test_a_promised_score_is_compared(tmp_path: pathlib.Path, score: str, promise: str) -> None:
    source = f"# @EXPECTED_SCORE@: {score}\n" + SCORING["submissions/partially_accepted/short.py"]
    package = small_packages.write(tmp_path / "package", {**SCORING, "submissions/mixed/scored.py": source})
    done = grade(package)
    assert done.returncode == (0 if promise == "kept" else 1), done.stderr
    row = next(line for line in done.stdout.splitlines() if "scored.py" in line)
    assert [part.strip() for part in row.split("│")[2:6]] == [
        promise, "AC", "AC" if promise == "kept" else "AC with the score 40", "40",
    ]  # fmt: skip


def test_a_broken_promise_is_exit_1_and_stands_in_the_table(tmp_path: pathlib.Path) -> None:
    files = {name: text for name, text in SUM.items() if not name.startswith("submissions/")}
    package = small_packages.write(tmp_path / "package", {**files, "submissions/wrong_answer/add.py": ADD})
    done = grade(package)
    assert done.returncode == 1, done.stderr
    row = next(line for line in done.stdout.splitlines() if "add.py" in line)
    assert [part.strip() for part in row.split("│")[1:5]] == ["wrong_answer/add.py", "broken", "WA", "AC"]


@pytest.mark.slow
def test_a_submission_that_is_wrong_before_it_is_too_slow_keeps_the_promise_of_its_folder(
    tmp_path: pathlib.Path,
) -> None:
    """Legacy, "Example submissions": "Too slow for some test case. May also give wrong answer"."""
    changes = {
        "submissions/time_limit_exceeded/at_last.py": "a = int(input().split()[0])\nwhile a == 100: pass\nprint(3)\n",
        "submissions/time_limit_exceeded/never.py": "print(3)\n",
    }
    done = grade(small_packages.write(tmp_path / "package", {"problem.yaml": YAML, **DATA, **changes}), "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    remark = "TLE on secret/2, as promised; an earlier test decides the verdict"
    rows = json.loads(done.stdout)["submissions"]
    assert [(row["verdict"], row["as_promised"], row["problems"]) for row in rows] == [
        ("WA", True, [remark]), ("WA", False, []),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_zip_and_a_submission_of_ones_own(tmp_path: pathlib.Path) -> None:
    package, own = tmp_path / "sum.zip", tmp_path / "mine.py"
    package.write_bytes(small_packages.zip_bytes(SUM))
    own.write_text(ADD)
    done = grade(package, "--submission", own, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["submissions"]
    assert (row["verdict"], [test["id"] for test in row["tests"]]) == ("AC", ["sample/1", "secret/1", "secret/2"])


def test_what_is_no_package_is_one_line(tmp_path: pathlib.Path) -> None:
    done = grade(small_packages.write(tmp_path / "package", {"readme.txt": ""}))
    assert done.returncode == 125
    assert done.stderr.startswith("cellblock: problem.yaml")
    assert done.stderr.count("\n") == 1


def test_what_a_package_says_reaches_the_terminal_as_text(tmp_path: pathlib.Path) -> None:
    """Names, markup and what a program says to its own compiler could clear the screen or ring the bell."""
    files = {name: text for name, text in SUM.items() if not name.startswith("submissions/")}
    package = small_packages.write(
        tmp_path / "package", {**files, "submissions/accepted/[bold]b.py": "def \x1b[2J", "a\x1b[2Jb": "", "a\\b": ""}
    )
    done = grade(package)
    assert done.returncode == 1, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "accepted/[bold]b.py" in done.stdout
    assert r"warning: a\x1b[2Jb: is left out: no file of a package may have such a name" in done.stderr


def test_what_is_neither_a_file_nor_a_folder_is_refused(tmp_path: pathlib.Path) -> None:
    package = small_packages.write(tmp_path / "package", SUM)
    os.mkfifo(package / "data" / "secret" / "3.in")
    done = grade(package)
    assert (done.returncode, done.stderr) == (125, "cellblock: data/secret/3.in: is neither a file nor a folder\n")


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "table"])
def test_a_full_disk_is_one_line(tmp_path: pathlib.Path, options: list[str]) -> None:
    files = {name: text for name, text in SUM.items() if not name.startswith("submissions/")}
    package = small_packages.write(tmp_path / "package", {**files, "submissions/accepted/add.py": ADD})
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, "grade", str(package), *options], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert (done.returncode, done.stderr) == (125, "cellblock: standard output: No space left on device\n")
