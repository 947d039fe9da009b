"""Jobe's own testsubmit.py, unmodified: which of its cases differ here is written down, and nothing else does.

JOBE_TESTSUBMIT names the file or its address; whoever runs this fetches it, and it is never a part of this project.
"""

import collections.abc
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

import pytest

from tests.server import Server

LANGUAGES = ["c", "cpp", "java", "javascript", "python"]
FIXED = "the commands of a toolchain are fixed"
MISSING = "no such toolchain is shipped"
DIFFERENCES = {
    "Testing use of interpreter args with Python3": FIXED,
    "Test use of compileargs with C": "its option has no hyphen, and is no option",
    "Valid Python3/pylint program": "there is no pylint in a jail",
    "Memory limit exceeded in C (seg faults)": "memory counts when it is used",
    "Infinite recursion (stack error) on C": "-O2 makes a loop of it",
    "Valid Octave": MISSING,
    "octave with stdin": MISSING,
    "Syntactically invalid Octave (treated as runtime error)": MISSING,
    "Correct Php program": MISSING,
    "Syntactically incorrect Php program": MISSING,
    "Good Hello world Pascal test": MISSING,
    "Fail Hello world Pascal test": MISSING,
}
RULE = re.compile(r"^\*+(?: FAILED TEST \*+)?$\n+", re.MULTILINE)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


@pytest.fixture
def server() -> collections.abc.Iterator[Server]:
    with Server(languages=LANGUAGES, dialects=["jobe"]) as running:
        yield running


@pytest.fixture
def testsubmit(tmp_path: pathlib.Path) -> pathlib.Path:
    named = os.environ.get("JOBE_TESTSUBMIT")
    if named is None:
        pytest.skip("JOBE_TESTSUBMIT does not say where testsubmit.py of trampgeek/jobe is")
    path = tmp_path / "testsubmit.py"
    if named.startswith("https://"):
        with urllib.request.urlopen(named, timeout=60) as answer:
            path.write_bytes(answer.read())
    else:
        path.write_bytes(pathlib.Path(named).read_bytes())
    return path


def failed_cases(printed: str) -> set[str]:
    """Each is shown between two rules: the result in one line, then the comment of the case."""
    parts = RULE.split(printed)
    return {part.splitlines()[1].strip() for part in parts[1::2]}


def test_jobes_own_cases_differ_only_where_it_is_written_down(server: Server, testsubmit: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, testsubmit, "--host", "localhost", "--port", str(server.port)],
        capture_output=True, text=True, timeout=360, check=False,
    )  # fmt: skip
    cases, _, parallel = done.stdout.partition(" exceptions\n")
    assert failed_cases(cases) == set(DIFFERENCES), done.stdout + done.stderr
    assert re.search(r"(\d+) tests, (\d+) passed, (\d+) failed, 0$", cases), cases[-200:]
    assert "Checking parallel submissions" in parallel
    assert "FAILED" not in parallel, parallel
    assert parallel.rstrip().endswith("OK"), parallel
