"""A validator or grader that is a folder with scripts `build` and `run`, as both problem package formats allow."""

import json
import pathlib
import subprocess
from typing import Any

from tests import small_packages
from tests.functional.test_problems import put
from tests.server import COMMAND, Server
from tests.small_packages import Files, with_files

LEGACY = "problem_format_version: legacy\nname: Sum\nvalidation: custom\nlimits:\n  time_limit: 3\n"
NEW = small_packages.NEW["problem.yaml"]
SUBMISSIONS = {
    "submissions/accepted/sum.py": "print(sum(map(int, input().split())))\n",
    "submissions/wrong_answer/minus.cc": None, "submissions/wrong_answer/one.py": "print(1)\n",
}  # fmt: skip
EQUAL_C = """
#include <stdio.h>
int main(int count, char **names) {
    int want = 0, got = 0;
    FILE *answer = fopen(names[2], "r");
    return fscanf(answer, "%d", &want) == 1 && scanf("%d", &got) == 1 && want == got ? 42 : 43;
}
"""
BUILD = "#!/bin/sh\ncc -O1 -o equal equal.c\n"
RUN = (
    '#!/usr/bin/env bash\n"${0%/*}/equal" "$@"\ncode=$?\necho "equal says $code" > "$3/judgemessage.txt"\nexit $code\n'
)
PYTHON_RUN = (
    "#!/usr/bin/env python3\nimport sys\nimport words\nsys.exit(42 if words.of(sys.argv[2]) == words.read() else 43)\n"
)
WORDS = "import sys\ndef of(path):\n    return open(path).read().split()\ndef read():\n    return sys.stdin.read().split()\n"
TALKS = """#!/bin/sh
read -r secret < "$1"
while read -r guess; do
  if [ "$guess" -eq "$secret" ]; then echo right; exit 42; fi
  if [ "$guess" -lt "$secret" ]; then echo higher; else echo lower; fi
done
exit 43
"""
GUESS = """
low, high = 1, 1000
while (said := "") == "":
    guess = (low + high) // 2
    print(guess, flush=True)
    said = input()
    if said == "right":
        break
    low, high = (guess + 1, high) if said == "higher" else (low, guess - 1)
"""


def graded(root: pathlib.Path, files: Files, code: int = 0) -> dict[str, Any]:
    """What came of each submission, by its name."""
    folder = small_packages.write(root / "package", files)
    done = subprocess.run(
        [COMMAND, "grade", folder, "--json"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["submissions"]}


def legacy(**validator: str) -> dict[str, str | bytes]:
    """A package whose validator is the folder `own` with these files."""
    own = {f"output_validators/own/{name}": text for name, text in validator.items()}
    return with_files(small_packages.LEGACY, {"problem.yaml": LEGACY, **SUBMISSIONS, **own})


def test_build_compiles_and_run_judges(tmp_path: pathlib.Path) -> None:
    found = graded(tmp_path, legacy(build=BUILD, run=RUN, **{"equal.c": EQUAL_C}))
    assert {name: row["verdict"] for name, row in found.items()} == {
        "accepted/sum.py": "AC", "wrong_answer/one.py": "WA",
    }  # fmt: skip
    assert {test["message"] for test in found["accepted/sum.py"]["tests"]} == {"equal says 42"}


def test_build_alone_leaves_a_program_that_is_called_run(tmp_path: pathlib.Path) -> None:
    """2025-09, "Other programs": `run` may be a binary."""
    files = {"output_validator/build": "c++ -x c++ -o run judge\n", "output_validator/judge": EQUAL_C}
    found = graded(tmp_path, with_files(small_packages.NEW, {**SUBMISSIONS, **files}))
    assert [row["verdict"] for row in found.values()] == ["AC", "WA"]


def test_run_alone_may_be_a_script_of_python_with_its_modules(tmp_path: pathlib.Path) -> None:
    found = graded(tmp_path, legacy(run=PYTHON_RUN, **{"words.py": WORDS}))
    assert [row["verdict"] for row in found.values()] == ["AC", "WA"]


def test_a_script_talks_with_a_submission(tmp_path: pathlib.Path) -> None:
    data = {"data/sample/1.in": "1\n", "data/secret/01.in": "777\n", "data/secret/02.in": "1000\n"}
    yaml = LEGACY.replace("custom", "custom interactive")
    files = {"submissions/accepted/sum.py": None, "submissions/accepted/halves.py": GUESS, "problem.yaml": yaml}
    found = graded(tmp_path, with_files(legacy(run=TALKS), {**data, **files}))
    assert found["accepted/halves.py"]["verdict"] == "AC"
    assert found["wrong_answer/one.py"]["verdict"] == "WA"


def test_what_a_build_prints_when_it_fails_is_told_before_anything_is_graded(cellblock: Server) -> None:
    for build, said in (
        ("echo broken >&2; exit 3\n", "broken"),
        ("true\n", "there is no program that is called run"),
    ):
        answer = put(cellblock, "scripts", legacy(build=build))
        assert (answer.status, answer.json["code"]) == (400, "cannot_grade"), answer.text
        assert f"the checker does not compile: {said}" in answer.json["detail"]


def test_a_build_has_no_network_and_writes_nowhere_but_in_its_folder(cellblock: Server) -> None:
    build = "echo > /dev/tcp/127.0.0.1/80 && exit 1; touch /usr/left && exit 1; cat /etc/shadow && exit 1; true\n"
    assert put(cellblock, "scripts", legacy(build=build, run=RUN)).status in (200, 201)


def test_files_of_a_test_are_its_own_whatever_the_build_leaves(cellblock: Server, tmp_path: pathlib.Path) -> None:
    """A folder may have files that are called like those which a judge is given."""
    build = (
        "echo 3 > answer; echo 3 > input; mkdir feedback; echo wrong > feedback/judgemessage.txt; cc -o equal equal.c\n"
    )
    found = graded(tmp_path, legacy(build=build, run=RUN, **{"equal.c": EQUAL_C}))
    assert [row["verdict"] for row in found.values()] == ["AC", "WA"]
