"""Test groups of the legacy format: testdata.yaml, the default grader, and what may run next."""

import random
from collections.abc import Mapping

import pytest

from daemon.grading.legacy_scoring import (
    GroupSettings,
    LegacyTree,
    default_grader,
    inherited,
    legacy_progress,
    legacy_tree,
)
from daemon.grading.scoring import ROOT, Directory, Result, directory_tree
from daemon.grading.verdicts import Verdict

AC, WA, TLE, RE, IE, SK = Verdict.AC, Verdict.WA, Verdict.TLE, Verdict.RE, Verdict.IE, Verdict.SK

ODD_ECHO: dict[str, dict[str, object]] = {  # problemtools, examples/oddecho
    "": {"on_reject": "continue", "range": "0 100", "grader_flags": "ignore_sample"},
    "sample": {"on_reject": "continue", "range": "0 0", "accept_score": 0, "grader_flags": "first_error"},
    "secret": {"on_reject": "continue", "range": "0 100", "grader_flags": "first_error accept_if_any_accepted"},
    "secret/subtask1": {"on_reject": "break", "accept_score": 50, "range": "0 50", "grader_flags": "min"},
    "secret/subtask2": {"on_reject": "break", "accept_score": 50, "range": "0 50", "grader_flags": "min"},
}
CASES = ["sample/1", "secret/subtask1/1", "secret/subtask1/2", "secret/subtask2/1", "secret/subtask2/2"]


def run(tree: LegacyTree, verdicts: Mapping[str, Verdict]) -> tuple[Mapping[str, Result], list[str]]:
    """Runs one case after the other as `legacy_progress` says; the results, and what was run in order."""
    known: dict[str, Result] = {}
    while (progress := legacy_progress(tree, known)).outcome is None:
        known[progress.may_run[0]] = Result(verdicts.get(progress.may_run[0], AC))
    return progress.results, list(known)


@pytest.mark.parametrize(
    ("flags", "results", "graded"),
    [
        ("", "AC 1 AC 2", "AC 3"),
        ("sum", "AC 1 WA 2", "WA 3"),
        ("avg", "AC 1 AC 2", "AC 1.5"),
        ("min", "AC 1 AC 2", "AC 1"),
        ("max", "AC 1 AC 2", "AC 2"),
        ("min max", "AC 1 AC 2", "AC 2"),
        ("first_error", "AC 0 WA 0 RE 0", "WA 0"),
        ("worst_error", "AC 0 WA 0 OLE 0 TLE 0 MLE 0 RE 0", "RE 0"),
        ("worst_error", "AC 0 WA 0 OLE 0 TLE 0 MLE 0", "MLE 0"),
        ("", "WA 0 OLE 0 TLE 0", "TLE 0"),
        ("no_errors", "WA 0 OLE 0", "OLE 0"),
        ("first_error worst_error", "WA 0 OLE 0", "OLE 0"),
        ("always_accept", "WA 1 RE 2", "AC 3"),
        ("accept_if_any_accepted", "WA 1 AC 2", "AC 3"),
        ("accept_if_any_accepted first_error", "WA 1 RE 2", "WA 3"),
        ("ignore_sample", "WA 1 AC 2", "AC 2"),
        ("ignore_sample", "WA 1", "WA 1"),
        ("unheard_of", "AC 1", "AC 1"),
        ("", "", "AC 0"),
    ],
)
def test_the_default_grader_follows_its_specification(flags: str, results: str, graded: str) -> None:
    """The format's "Default grader specification", and the tool where it is silent."""
    words = results.split()
    given = [Result(Verdict(words[index]), float(words[index + 1])) for index in range(0, len(words), 2)]
    verdict, score = graded.split()
    assert default_grader(flags.split(), given) == Result(Verdict(verdict), float(score))


def test_settings_are_inherited_from_the_nearest_directory_above() -> None:
    testdata = {"": {"a": 1, "b": 1, "c": 1}, "secret": {"b": 2, "c": 2}, "secret/x/y": {"c": 3}}
    assert inherited(testdata, "secret/x/y") == {"a": 1, "b": 2, "c": 3}
    assert inherited(testdata, "secret/x") == {"a": 1, "b": 2, "c": 2}
    assert inherited(testdata, "sample") == testdata[""] == inherited(testdata, "")


def test_defaults_are_those_of_the_format() -> None:
    assert GroupSettings.of({}) == GroupSettings(True, False, (), 1.0, 0.0, float("-inf"), float("inf"))


@pytest.mark.parametrize(
    "values",
    [
        {"on_reject": "stop"},
        {"on_reject": True},
        {"grading": "none"},
        {"grader_flags": ["min"]},
        {"accept_score": "1"},
        {"accept_score": True},
        {"reject_score": float("nan")},
        {"range": "0"},
        {"range": "2 1"},
        {"range": "nan nan"},
        {"range": 5},
    ],
)
def test_a_value_that_the_format_does_not_allow_is_refused_with_its_place(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^secret/a: .*{next(iter(values))}"):
        legacy_tree(["secret/a/1"], {"secret/a": values}, scoring=True)


@pytest.mark.parametrize("case", ["1", "other/1", "data/secret/1"])
def test_test_data_is_sample_or_secret(case: str) -> None:
    with pytest.raises(ValueError, match="belongs in sample or secret"):
        legacy_tree([case], {}, scoring=False)


def test_cases_and_groups_come_in_the_order_of_their_base_names() -> None:
    tree = directory_tree(["secret/b", "secret/a/2", "secret/a/10", "secret/a-1", "sample/x"])
    assert tree.children[1] == Directory(
        "secret", (Directory("secret/a", ("secret/a/10", "secret/a/2")), "secret/a-1", "secret/b")
    )
    assert tree.cases() == ("sample/x", "secret/a/10", "secret/a/2", "secret/a-1", "secret/b")


@pytest.mark.parametrize("cases", [["secret/a", "secret/a/1"], ["secret//1"], ["secret/"], [""]])
def test_names_that_make_no_tree_are_refused(cases: list[str]) -> None:
    with pytest.raises(ValueError):
        directory_tree(cases)


def test_ignore_sample_is_for_the_root() -> None:
    """A group may only inherit it, and then it does not apply."""
    with pytest.raises(ValueError, match="secret: ignore_sample"):
        legacy_tree(["secret/1"], {"secret": {"grader_flags": "ignore_sample"}}, scoring=True)
    tree = legacy_tree(["secret/1", "secret/2"], {"": {"grader_flags": "ignore_sample"}}, scoring=True)
    assert run(tree, {})[0][ROOT] == Result(AC, 2.0)


@pytest.mark.parametrize(
    ("rejected", "verdict", "score", "skipped"),
    [
        ({}, AC, 100.0, []),
        ({"sample/1": WA}, AC, 100.0, []),
        ({"secret/subtask1/1": WA}, AC, 50.0, ["secret/subtask1/2"]),
        ({"secret/subtask2/2": TLE}, AC, 50.0, []),
        ({"secret/subtask1/2": TLE, "secret/subtask2/1": WA}, TLE, None, ["secret/subtask2/2"]),
    ],
)
def test_a_problem_with_subtasks_is_scored(
    rejected: dict[str, Verdict], verdict: Verdict, score: float | None, skipped: list[str]
) -> None:
    """The odd echo of problemtools: two subtasks of 50 points, of which one is enough to be accepted."""
    results, ran = run(legacy_tree(CASES, ODD_ECHO, scoring=True), rejected)
    assert results[ROOT] == Result(verdict, score)
    assert [case for case in CASES if results[case].verdict is SK] == skipped
    assert [case for case in CASES if case not in skipped] == ran
    assert not legacy_progress(legacy_tree(CASES, ODD_ECHO, scoring=True), {}).problems


def test_break_stops_the_groups_above_too() -> None:
    """A rejected subgroup is a rejected sub-result of its group."""
    results, ran = run(legacy_tree(CASES, {}, scoring=False), {"secret/subtask1/1": RE})
    assert ran == ["sample/1", "secret/subtask1/1"]
    assert results[ROOT] == results["secret"] == results["secret/subtask1"] == Result(RE)
    assert "secret/subtask2" not in results


def test_a_score_of_the_validator_comes_before_the_default_one() -> None:
    tree = legacy_tree(
        ["secret/1", "secret/2", "secret/3"], {"": {"on_reject": "continue", "reject_score": -1}}, scoring=True
    )
    known = {"secret/1": Result(AC, 7.0), "secret/2": Result(AC), "secret/3": Result(WA, 9.0)}
    progress = legacy_progress(tree, known)
    assert [progress.results[case].score for case in known] == [7.0, 1.0, -1.0]
    assert progress.results["secret"] == Result(WA, 7.0)
    assert progress.outcome == Result(WA)


def test_a_score_outside_of_the_range_is_told() -> None:
    tree = legacy_tree(["secret/1"], {"": {"range": "0 5"}}, scoring=True)
    progress = legacy_progress(tree, {"secret/1": Result(AC, 7.0)})
    assert progress.problems[0] == "secret: the score 7 is outside of the range 0 to 5"
    assert progress.outcome == Result(AC, 7.0)


def test_our_failure_is_the_result_of_all_groups_above() -> None:
    tree = legacy_tree(CASES, ODD_ECHO, scoring=True)
    results, _ = run(tree, {"secret/subtask1/2": IE})
    assert results["secret/subtask1"] == results["secret"] == results[ROOT] == Result(IE)
    assert results["secret/subtask2"] == Result(AC, 50.0)


def test_a_custom_grader_is_asked_with_the_results_of_its_group() -> None:
    """Its answer comes in under the group's name."""
    testdata: dict[str, dict[str, object]] = {
        "secret": {"grading": "custom", "grader_flags": "a b"},
        "": {"on_reject": "continue"},
    }
    tree = legacy_tree(["secret/1", "secret/2"], testdata, scoring=True)
    known = {"secret/1": Result(AC), "secret/2": Result(WA)}
    progress = legacy_progress(tree, known)
    (call,) = progress.to_grade
    assert (call.group, call.flags, call.results) == ("secret", ("a", "b"), (Result(AC, 1.0), Result(WA, 0.0)))
    assert progress.outcome is None and progress.may_run == ()
    assert legacy_progress(tree, known | {"secret": Result(AC, 17.0)}).outcome == Result(AC, 17.0)


def random_tree(chance: random.Random) -> LegacyTree:
    cases = {
        f"{chance.choice(['sample', 'secret'])}/{chance.choice('abc')}/{chance.choice('12')}/{chance.choice('xyz')}"
        for _ in range(12)
    }
    testdata: dict[str, dict[str, object]] = {}
    for directory in {"", *(case[:end] for case in cases for end in (6, 8, 10))}:
        flags = chance.choice(["", "min", "first_error", "accept_if_any_accepted", "avg first_error"])
        testdata[directory] = {"on_reject": chance.choice(["break", "continue"]), "grader_flags": flags}
    return legacy_tree(cases, testdata, scoring=chance.random() < 0.7)


def test_running_many_at_once_comes_to_the_same_as_one_after_the_other() -> None:
    """Results come in any order; what is ruled out stays so, and no result depends on who was quicker."""
    chance = random.Random(1)
    for _ in range(200):
        tree = random_tree(chance)
        verdicts = {case: chance.choice([AC, AC, AC, WA, TLE, IE]) for case in tree.root.cases()}
        expected, _ = run(tree, verdicts)
        known: dict[str, Result] = {}
        decided: dict[str, Result] = {}
        while (progress := legacy_progress(tree, known)).outcome is None:
            case = chance.choice(progress.may_run)
            known[case] = Result(verdicts[case])
            skipped = {name for name, result in decided.items() if result.verdict is SK}
            assert all(progress.results[name].verdict is SK for name in skipped)
            decided = dict(progress.results)
        assert progress.results == expected
