"""What is promised of example submissions: by folder, by submissions.yaml, by a comment."""

import pathlib
import time

import pytest

from daemon.grading.packages import reader
from daemon.grading.packages.expectations import matches
from daemon.grading.packages.problem import Bound, Submission
from daemon.grading.packages.refusal import PackageRefused
from tests.small_packages import LEGACY, NEW, Files, with_files, write

CRASHES = ("RE", "MLE", "OLE")
ALL = ("AC", "WA", "TLE", *CRASHES)


def submissions(root: pathlib.Path, base: Files, changes: dict[str, str | bytes | None]) -> dict[str, Submission]:
    return {one.name: one for one in reader.read(write(root, with_files(base, changes))).submissions}


@pytest.mark.parametrize(
    ("base", "folder", "verdicts"),
    [
        (LEGACY, "accepted", ("AC",)),
        (LEGACY, "wrong_answer", ("WA",)),
        (LEGACY, "time_limit_exceeded", ("TLE", "OLE")),
        (LEGACY, "run_time_error", CRASHES),
        (LEGACY, "partially_accepted", ("AC",)),
        (LEGACY, "compiler_error", ("CE",)),
        (LEGACY, "mixed", ()),
        (LEGACY, "slow_accepted", ()),
        (NEW, "accepted", ("AC",)),
        (NEW, "rejected", ("WA", "TLE", *CRASHES)),
        (NEW, "brute_force", ("TLE", *CRASHES)),
    ],
)
def test_the_folder_promises(tmp_path: pathlib.Path, base: Files, folder: str, verdicts: tuple[str, ...]) -> None:
    found = submissions(tmp_path, base, {f"submissions/{folder}/x.py": ""})[f"{folder}/x.py"]
    assert found.expected.verdicts == verdicts
    assert (found.expected.source, found.expected.partial) == ("folder", folder == "partially_accepted")


def test_rules_of_single_tests(tmp_path: pathlib.Path) -> None:
    files: dict[str, str | bytes | None] = {
        f"submissions/{name}/x.py": "" for name in ("time_limit_exceeded", "run_time_error")
    }
    found = submissions(tmp_path, NEW, files)
    (accepted,) = found["accepted/sum.py"].expected.rules
    assert (accepted.permitted, accepted.required, accepted.bound) == (("AC",), ALL, Bound.LOWER)
    (slow,) = found["time_limit_exceeded/x.py"].expected.rules
    assert (slow.permitted, slow.required, slow.bound) == (("AC", "TLE"), ("TLE",), Bound.UPPER)
    (crash,) = found["run_time_error/x.py"].expected.rules
    assert (crash.permitted, crash.required) == (("AC", *CRASHES), CRASHES)


@pytest.mark.parametrize(
    ("comment", "verdicts"),
    [
        ("# @EXPECTED_RESULTS@: CORRECT, WRONG-ANSWER", ("AC", "WA")),
        ("/* @expected_results@: TIMELIMIT */", ("TLE", "OLE")),
        (" * @EXPECTED_RESULTS@:   RUN_TIME_ERROR , ACCEPTED   ", (*CRASHES, "AC")),
        ("// @EXPECTED_RESULTS@: COMPILER-ERROR", ("CE",)),
        ("-- @EXPECTED_RESULTS@: OUTPUT-LIMIT --", ("OLE",)),
        ("# @EXPECTED_RESULTS@: CHECK-MANUALLY", ()),
        ("# @EXPECTED_SCORE@: WRONG-ANSWER", ("WA",)),
    ],
)
def test_a_comment_promises_where_the_folder_does_not(
    tmp_path: pathlib.Path, comment: str, verdicts: tuple[str, ...]
) -> None:
    files = {"submissions/mixed/x.py": f"# x\n{comment}\nprint()\n", "submissions/accepted/x.py": comment}
    found = submissions(tmp_path, LEGACY, dict(files))
    assert found["mixed/x.py"].expected.verdicts == verdicts
    assert found["mixed/x.py"].expected.source == "comment"
    assert found["accepted/x.py"].expected.verdicts == ("AC",)


def test_a_score_in_a_comment(tmp_path: pathlib.Path) -> None:
    found = submissions(tmp_path, LEGACY, {"submissions/mixed/x.py": "# @EXPECTED_SCORE@: 40.5\n"})
    assert found["mixed/x.py"].expected.score == (40.5, 40.5)


def test_languages_by_extension(tmp_path: pathlib.Path) -> None:
    files = {
        "a.cc": "cpp", "b.c++": "cpp", "c.c": "c", "d.py": "python3", "e.java": "java", "f.rs": "rust", "g.ts": "typescript",
        "h.C": "cpp", "i.kt": "kotlin", "j.txt": None, "k": None,
    }  # fmt: skip
    found = submissions(tmp_path, NEW, {f"submissions/accepted/{name}": "" for name in files})
    assert {name: found[f"accepted/{name}"].program.language for name in files} == files


def test_languages_of_folders(tmp_path: pathlib.Path) -> None:
    files = dict.fromkeys(
        ["many/a.cc", "many/b.c", "many/c.h", "py/__main__.py", "py/data.txt", "deep/src/Main.java", "torn/a.py",
         "torn/a.rs", "empty/x.txt"], ""
    )  # fmt: skip
    found = submissions(tmp_path, NEW, {f"submissions/accepted/{name}": "" for name in files})
    languages = {name.removeprefix("accepted/"): one.program.language for name, one in found.items()}
    assert languages == {
        "many": "cpp", "py": "python3", "deep": "java", "torn": None, "empty": None, "sum.py": "python3",
        "wrong_answer/minus.cc": "cpp",
    }  # fmt: skip
    assert found["accepted/deep"].program.files == ("submissions/accepted/deep/src/Main.java",)


def test_python_2_is_told_by_its_first_line_in_legacy_packages(tmp_path: pathlib.Path) -> None:
    source = "#!/usr/bin/env python2\nprint 1\n"
    assert submissions(tmp_path, LEGACY, {"submissions/accepted/old.py": source})[
        "accepted/old.py"
    ].program.language == "python2"  # fmt: skip
    assert submissions(tmp_path, NEW, {"submissions/accepted/old.py": source})[
        "accepted/old.py"
    ].program.language == "python3"  # fmt: skip


def test_submissions_yaml(tmp_path: pathlib.Path) -> None:
    declared = """
mixed:
  permitted: [AC, WA, TLE]
mixed/slow.{py,cc}:
  required: [TLE]
  use_for_time_limit: false
mixed/groups.py:
  sample: {permitted: [AC]}
  secret/*-hard: {permitted: [AC, TLE], required: [TLE], use_for_time_limit: upper}
  message: too slow
mixed/scored.py: {score: 40}
mixed/ranged.py: {score: [30, 50]}
mixed/dir: {language: python3, entrypoint: go.py, authors: [A, B]}
time_limit_exceeded:
  permitted: [AC, WA, TLE]
"""
    names = ("mixed/slow.py", "mixed/groups.py", "mixed/scored.py", "mixed/ranged.py", "mixed/dir/go.py",
        "time_limit_exceeded/x.py")  # fmt: skip
    files = {f"submissions/{name}": "" for name in names}
    found = submissions(tmp_path, NEW, {**files, "submissions/submissions.yaml": declared})
    slow = found["mixed/slow.py"].expected
    assert slow.verdicts == ("WA", "TLE") and slow.source == "submissions.yaml"
    assert [rule.bound for rule in slow.rules] == [None, None]
    groups = found["mixed/groups.py"].expected
    assert groups.verdicts == ("WA", "TLE")
    assert [(rule.cases, rule.bound, rule.message) for rule in groups.rules] == [
        ("", None, ""), ("", None, "too slow"), ("sample", Bound.LOWER, ""), ("secret/*-hard", Bound.UPPER, ""),
    ]  # fmt: skip
    assert found["mixed/scored.py"].expected.score == (40, 40)
    assert found["mixed/ranged.py"].expected.score == (30, 50)
    folder = found["mixed/dir"].program
    assert (folder.language, folder.entry_point) == ("python3", "go.py")
    (rule,) = found["time_limit_exceeded/x.py"].expected.rules  # replaced, and `required` kept
    assert (rule.permitted, rule.required, rule.bound) == (("AC", "WA", "TLE"), ("TLE",), Bound.UPPER)
    assert found["time_limit_exceeded/x.py"].expected.verdicts == ("WA", "TLE")
    assert found["accepted/sum.py"].expected.source == "folder"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: {permitted: [OK]}", "submissions/submissions.yaml: a.permitted: 'OK' is not one of AC, WA, TLE, RTE"),
        ("a: {use_for_time_limit: maybe}", "submissions/submissions.yaml: a.use_for_time_limit: must be true"),
        ("a: 5", "submissions/submissions.yaml: a: must be a map"),
        ("a: {score: high}", "submissions/submissions.yaml: a.score: must be a number"),
    ],
)
def test_errors_in_submissions_yaml(tmp_path: pathlib.Path, text: str, sentence: str) -> None:
    with pytest.raises(PackageRefused) as caught:
        submissions(tmp_path, NEW, {"submissions/submissions.yaml": text})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("", "accepted/a.py", True),
        ("accepted", "accepted/a.py", True),
        ("accepted/*", "accepted/a.py", True),
        ("accepted/*", "accepted/dir/a.py", True),
        ("*", "accepted/a.py", True),
        ("*/a.py", "accepted/a.py", True),
        ("*/b.py", "accepted/a/b.py", False),
        ("a.py", "accepted/a.py", False),
        ("accept", "accepted/a.py", False),
        ("accepted/a.{py,cc}", "accepted/a.cc", True),
        ("accepted/{a,b}.{py,cc}", "accepted/b.py", True),
        ("accepted/{a,{b,c}}.py", "accepted/c.py", True),
        ("secret/*{1,3,5}", "secret/odd13", True),
        ("secret/*{,0}{2}", "secret/x2", True),
        ("secret/a*b*c", "secret/abxbc", True),
        ("secret/a*b", "secret/ab", True),
        ("secret/ab*b", "secret/ab", False),
        ("secret/[ab]", "secret/a", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_patterns_that_explode_take_no_time() -> None:
    begin = time.perf_counter()
    assert not matches("{a,b}" * 40, "x")
    assert not matches("*a" * 5000 + "b", "a" * 5000)
    assert time.perf_counter() - begin < 5
