"""Kattis' own problemtools reads the same from a package as we do; skipped where it is not installed.

CELLBLOCK_TEST_PACKAGES may name a folder of packages, which are compared, too. Where the two differ by intent, the
comparison says so.
"""

import os
import pathlib
import shutil
from typing import Any

import pytest

from daemon.grading.packages import reader
from daemon.grading.packages.problem import Case, Group, LegacyRules, Problem
from daemon.grading.packages.refusal import PackageRefused
from tests.small_packages import LEGACY, with_files, write

metadata: Any = pytest.importorskip("problemtools.metadata")
testdata: Any = pytest.importorskip("problemtools.model.testdata")

FOLDER = os.environ.get("CELLBLOCK_TEST_PACKAGES")
REAL = sorted(path.parent for path in pathlib.Path(FOLDER).rglob("problem.yaml")) if FOLDER else []
MIB = 1 << 20
SCORING = {
    "problem.yaml": "name: Sum\ntype: scoring\nvalidator_flags: case_sensitive\nlimits: {memory: 512, time_multiplier: 4}\n",
    "data/testdata.yaml": "on_reject: continue\nrange: 0 100\ngrader_flags: ignore_sample\n",
    "data/secret/testdata.yaml": "grader_flags: first_error\noutput_validator_flags: float_tolerance 1e-6\n",
    "data/secret/10/testdata.yaml": "on_reject: break\naccept_score: 50\nrange: 0 50\ngrader_flags: min\n",
    "data/secret/10/1.in": "", "data/secret/10/1.ans": "", "data/secret/9/1.in": "", "data/secret/9/1.ans": "",
    "data/secret/9/testdata.yaml": "accept_score: 25\nreject_score: 1\n",
}  # fmt: skip


def compare(root: pathlib.Path, copy: pathlib.Path) -> None:
    """The copy is read by us, since constants are put into the programs of a package that is read."""
    try:
        theirs = metadata.load_metadata(root)
    except Exception as error:
        pytest.skip(f"problemtools does not read it: {type(error).__name__}")
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    try:
        ours = reader.read(copy)
    except PackageRefused as refusal:
        pytest.skip(f"refused: {refusal}")
    _compare_metadata(ours, theirs)
    _compare_tests(ours, testdata.load_testdata(root, theirs))


def _compare_metadata(ours: Problem, theirs: Any) -> None:
    """Not the names: for legacy packages they prefer what the statement says, and we what problem.yaml says."""
    assert {str(kind) for kind in ours.types} - {"multi-pass"} == {str(kind) for kind in theirs.type} | (
        set() if theirs.is_scoring() else {"pass-fail"}
    ) - {"multi-pass"}  # legacy's is DOMjudge's
    assert ours.timing.ac_to_time_limit == theirs.limits.time_multipliers.ac_to_time_limit
    assert ours.timing.time_limit_to_tle == theirs.limits.time_multipliers.time_limit_to_tle
    assert ours.timing.resolution_s == theirs.limits.time_resolution
    if ours.timing.source == "problem.yaml":
        assert ours.timing.limit_s == theirs.limits.time_limit
    if ours.limits.memory_bytes is not None:
        assert ours.limits.memory_bytes == theirs.limits.memory * MIB


def _compare_tests(ours: Problem, theirs: Any) -> None:
    groups = {group.name: group for group in ours.groups}
    cases = {case.name: case for case in ours.cases}
    expected = [str(case.path) for case in theirs.get_all_testcases() if str(case.path).split("/")[0] in groups]
    assert list(cases) == expected
    for group in (theirs, *_below(theirs)):
        name = group.name.removeprefix("data").removeprefix(".").replace(".", "/")
        if name in groups:
            _compare_group(groups[name], group.config)
    for case in theirs.get_all_testcases():
        if str(case.path) in cases and isinstance(groups[cases[str(case.path)].group].rules, LegacyRules):
            _compare_case(cases[str(case.path)], case)


def _below(group: Any) -> list[Any]:
    return [inner for child in group.get_subgroups() for inner in (child, *_below(child))]


def _compare_group(ours: Group, theirs: dict[str, Any]) -> None:
    rules = ours.rules
    if not isinstance(rules, LegacyRules):
        return
    assert (rules.on_reject, rules.grading) == (theirs["on_reject"], theirs["grading"])
    assert rules.grader_flags == tuple(theirs["grader_flags"].split())
    if None not in (theirs["accept_score"], theirs["reject_score"], theirs["range"]):  # of scoring problems
        assert [rules.range_low, rules.range_high] == [float(word) for word in theirs["range"].split()]
        assert (rules.accept_score, rules.reject_score) == (theirs["accept_score"], theirs["reject_score"])


def _compare_case(ours: Case, theirs: Any) -> None:
    assert ours.validator_args == tuple(theirs.output_validator_flags)


@pytest.mark.parametrize("changes", [{}, SCORING], ids=["pass-fail", "scoring"])
def test_a_small_package_is_read_as_problemtools_reads_it(tmp_path: pathlib.Path, changes: dict[str, str]) -> None:
    root = write(tmp_path / "sum", with_files(LEGACY, changes))
    compare(root, root)


@pytest.mark.parametrize("root", REAL, ids=[str(path.relative_to(FOLDER or "/")) for path in REAL])
def test_a_real_package_is_read_as_problemtools_reads_it(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    shutil.copytree(root, tmp_path / "copy", ignore=_dangling)
    compare(root, tmp_path / "copy")


def _dangling(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not os.path.exists(os.path.join(folder, name))}
