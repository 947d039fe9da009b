"""Promises that single tests keep, where the final verdict does not."""

import dataclasses

import pytest

from daemon.grading.packages.expectations import of_folder
from daemon.grading.packages.fields import Warnings
from daemon.grading.packages.problem import Expected, Format
from daemon.grading.promises import kept_on, may_be_kept
from daemon.grading.verdicts import Verdict


def promise(folder: str, kind: Format = Format.LEGACY) -> Expected:
    return of_folder(kind, folder, b"", "submissions/a.py", Warnings())


def of_tests(*verdicts: str) -> dict[str, Verdict]:
    return {f"secret/{number}": Verdict(verdict) for number, verdict in enumerate(verdicts)}


@pytest.mark.parametrize(
    ("kind", "folder", "verdicts", "expected"),
    [
        (Format.LEGACY, "time_limit_exceeded", ("AC", "WA", "TLE"), "secret/2"),
        (Format.LEGACY, "time_limit_exceeded", ("WA", "OLE", "TLE"), "secret/1"),
        (Format.LEGACY, "time_limit_exceeded", ("WA", "TLE", "RE"), None),
        (Format.LEGACY, "time_limit_exceeded", ("WA", "WA"), None),
        (Format.LEGACY, "run_time_error", ("WA", "TLE", "MLE"), "secret/2"),
        (Format.LEGACY, "wrong_answer", ("TLE", "WA"), None),
        (Format.V2023_07, "time_limit_exceeded", ("WA", "TLE"), None),
        (Format.V2023_07, "run_time_error", ("WA", "RE"), None),
    ],
)
def test_each_format_says_what_other_verdicts_are_permitted(
    kind: Format, folder: str, verdicts: tuple[str, ...], expected: str | None
) -> None:
    assert kept_on(promise(folder, kind), of_tests(*verdicts)) == expected


def test_only_skipped_tests_can_still_keep_a_promise() -> None:
    too_slow = promise("time_limit_exceeded")
    assert may_be_kept(too_slow, Verdict.WA, of_tests("AC", "WA", "SK"))
    assert not may_be_kept(too_slow, Verdict.WA, of_tests("AC", "WA", "WA"))
    assert not may_be_kept(too_slow, Verdict.RE, of_tests("RE", "SK"))
    assert not may_be_kept(too_slow, Verdict.CE, of_tests("SK", "SK"))
    assert not may_be_kept(promise("run_time_error"), Verdict.IE, of_tests("SK", "SK"))
    assert not may_be_kept(promise("mixed"), Verdict.WA, of_tests("WA", "SK"))


def test_a_rule_about_some_tests_is_about_no_others() -> None:
    (rule,) = promise("time_limit_exceeded").rules
    expected = dataclasses.replace(promise("time_limit_exceeded"), rules=(dataclasses.replace(rule, cases="secret/1"),))
    assert kept_on(expected, of_tests("RE", "TLE")) == "secret/1"
    assert kept_on(expected, of_tests("TLE", "AC")) is None
