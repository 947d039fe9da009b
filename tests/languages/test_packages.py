"""`cellblock grade`: a package's submissions in these languages are known by the extensions of the format's table."""

import json
import pathlib
import subprocess

from tests import small_packages
from tests.server import COMMAND

from .programs import LOOP, SUM

SUBMISSIONS = {
    "submissions/accepted/add.c": SUM["c"],
    "submissions/accepted/add.cc": SUM["cpp"],
    "submissions/accepted/add.go": SUM["go"],
    "submissions/accepted/Add.java": SUM["java"].replace("class Main", "class Add"),
    "submissions/accepted/add.js": SUM["javascript"],
    "submissions/wrong_answer/minus.cc": "int main() {}",
    "submissions/time_limit_exceeded/loop.go": LOOP["go"],
    "submissions/run_time_error/deep.java": "public class deep { static int f(int n) { return f(n + 1) + 1; } public static void main(String[] a) { f(0); } }",
}


def test_every_submission_gets_what_its_folder_promises(tmp_path: pathlib.Path) -> None:
    package = {
        **small_packages.LEGACY, "problem.yaml": "name: Sum\nlimits:\n  time_limit: 3\n  memory: 256\n", **SUBMISSIONS
    }  # fmt: skip
    folder = small_packages.write(tmp_path / "sum", package)
    done = subprocess.run(
        [COMMAND, "grade", folder, "--json"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    told = {one["name"]: one["skipped"] for one in json.loads(done.stdout)["submissions"]}
    assert {name for name, skipped in told.items() if skipped is None} >= {
        name.removeprefix("submissions/") for name in SUBMISSIONS
    }, told


def test_an_included_grader_takes_the_place_of_the_submissions_own(tmp_path: pathlib.Path) -> None:
    """Legacy, "Included code": also where the submission's own would be taken for its main file."""
    grader = "#include <iostream>\nlong add(long, long);\nint main() { long a, b; std::cin >> a >> b; std::cout << add(a, b); }\n"
    package = {
        **{name: text for name, text in small_packages.LEGACY.items() if not name.startswith("submissions/")},
        "problem.yaml": "name: Sum\nlimits:\n  time_limit: 3\n",
        "include/cpp/grader.cpp": grader,
        "submissions/accepted/graded/grader.cpp": "int main() { return 1; }\n",
        "submissions/accepted/graded/solution.cpp": "long add(long a, long b) { return a + b; }\n",
    }
    folder = small_packages.write(tmp_path / "sum", package)
    done = subprocess.run([COMMAND, "grade", folder], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout
