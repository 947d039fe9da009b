"""Test groups of the format 2025-09 (the draft was 2023-07): test_group.yaml, scores, group dependencies."""

import random
from collections.abc import Mapping

import pytest

from daemon.grading.group_scoring import GroupTree, Settings, group_progress, group_tree
from daemon.grading.scoring import ROOT, Result
from daemon.grading.verdicts import Verdict

AC, WA, TLE, IE, SK = Verdict.AC, Verdict.WA, Verdict.TLE, Verdict.IE, Verdict.SK
Yaml = dict[str, dict[str, object]]

CASES = ["sample/1", "secret/a/1", "secret/a/2", "secret/b/1", "secret/b/sub/2"]
SUBTASKS: Yaml = {"secret/a": {"max_score": 30}, "secret/b": {"max_score": 70}}


def run(
    tree: GroupTree, given: Mapping[str, Result | Verdict], stop: bool = False
) -> tuple[Mapping[str, Result], list[str]]:
    """Runs one case after the other as `group_progress` says; the results, and what was run in order."""
    known: dict[str, Result] = {}
    while (progress := group_progress(tree, known, stop)).outcome is None:
        result = given.get(progress.may_run[0], AC)
        known[progress.may_run[0]] = Result(result) if isinstance(result, Verdict) else result
    return progress.results, list(known)


def flat(values: dict[str, object], *results: Result, scoring: bool = True) -> tuple[Result, tuple[str, ...]]:
    """The outcome of secret cases without groups, and the problems."""
    names = [f"secret/{index}" for index in range(len(results))]
    progress = group_progress(group_tree(names, {"secret": values}, scoring), dict(zip(names, results, strict=True)))
    assert progress.outcome is not None
    return progress.outcome, progress.problems


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({}, AC),
        ({"sample/1": WA}, WA),
        ({"secret/a/2": TLE, "secret/b/1": WA}, TLE),
        ({"secret/b/sub/2": WA, "secret/a/1": IE}, IE),
    ],
)
@pytest.mark.parametrize("groups", [{}, {"secret/a": {}, "secret/b": {}}])
def test_a_pass_fail_problem_is_accepted_when_every_case_is(
    given: dict[str, Verdict], verdict: Verdict, groups: Yaml
) -> None:
    results, ran = run(group_tree(CASES, groups, scoring=False), given)
    assert results[ROOT] == Result(verdict)
    assert ran == CASES
    assert all(result.score is None for result in results.values())


def test_stop_on_failure_ends_a_pass_fail_problem_at_the_first_rejected_case() -> None:
    results, ran = run(group_tree(CASES, {}, scoring=False), {"secret/a/1": TLE, "secret/b/1": WA}, stop=True)
    assert ran == ["sample/1", "secret/a/1"]
    assert [results[case].verdict for case in CASES] == [AC, TLE, SK, SK, SK]
    assert results[ROOT] == Result(TLE)


@pytest.mark.parametrize(
    ("given", "score", "verdict"),
    [
        ({}, 100, AC),
        ({"secret/a/1": WA}, 70, WA),
        ({"secret/b/sub/2": TLE}, 30, TLE),
        ({"secret/a/1": WA, "secret/b/1": TLE}, 0, WA),
        ({"sample/1": WA}, 100, WA),
    ],
)
@pytest.mark.parametrize("stop", [False, True])
def test_a_pass_fail_group_gives_all_of_its_score_or_nothing(
    given: dict[str, Verdict], score: float, verdict: Verdict, stop: bool
) -> None:
    results, ran = run(group_tree(CASES, SUBTASKS, scoring=True), given, stop)
    assert results[ROOT] == Result(verdict, score)
    assert results["secret"].score == score
    assert stop or ran == CASES


@pytest.mark.parametrize(
    ("values", "results", "score"),
    [
        ({}, [Result(AC), Result(AC)], 100),
        ({}, [Result(AC), Result(WA)], 50),
        ({"max_score": 30}, [Result(AC), Result(AC, multiplier=0.5), Result(AC, 1.5)], 16.5),
        ({"max_score": 30, "score_aggregation": "min"}, [Result(AC), Result(AC)], 30),
        ({"max_score": 30, "score_aggregation": "min"}, [Result(AC), Result(AC, multiplier=0.5)], 15),
        ({"max_score": 30, "score_aggregation": "min"}, [Result(AC), Result(WA)], 0),
        ({"max_score": 30, "score_aggregation": "pass-fail"}, [Result(AC), Result(AC)], 30),
        ({"max_score": 30, "score_aggregation": "pass-fail"}, [Result(AC), Result(WA)], 0),
        ({"max_score": "unbounded"}, [Result(AC, 1e6), Result(AC, 0.5), Result(WA)], 1e6 + 0.5),
        ({"max_score": "unbounded", "score_aggregation": "min"}, [Result(AC, 7.0), Result(AC, 3.0)], 3),
        ({}, [Result(AC)] * 3, 100),
        ({}, [Result(AC)] * 7, 100),
    ],
)
def test_scores_of_cases_are_aggregated(values: dict[str, object], results: list[Result], score: float) -> None:
    """The rules of "Scoring test cases" and "Scoring test data groups"."""
    outcome, problems = flat(values, *results)
    assert outcome.score == pytest.approx(score) and problems == ()


@pytest.mark.parametrize(
    ("values", "result", "problem"),
    [
        ({"max_score": "unbounded"}, Result(AC), "gave no score"),
        ({}, Result(WA, 5.0), "did not accept"),
        ({}, Result(WA, multiplier=0.5), "did not accept"),
        ({"max_score": "unbounded"}, Result(AC, multiplier=0.5), "no maximum to multiply"),
        ({}, Result(AC, 5.0, 0.5), "both"),
        ({"score_aggregation": "pass-fail"}, Result(AC, 5.0), "pass-fail group"),
        ({"score_aggregation": "pass-fail"}, Result(AC, multiplier=1.0), "pass-fail group"),
        ({}, Result(AC, 101.0), "exceeds the maximum of 100"),
        ({}, Result(AC, -1.0), "0 or more"),
        ({}, Result(AC, float("nan")), "0 or more"),
        ({}, Result(AC, multiplier=1.5), "not 0..1"),
    ],
)
def test_what_the_format_calls_a_judge_error_is_one(values: dict[str, object], result: Result, problem: str) -> None:
    """The list of judge errors in "Scoring test cases": never against the contestant."""
    outcome, problems = flat(values, result)
    assert outcome == Result(IE)
    assert len(problems) == 1 and problems[0].startswith("secret/0: ") and problem in problems[0]


def test_a_score_of_secret_above_its_maximum_is_a_judge_error() -> None:
    tree = group_tree(CASES, {"secret": {"max_score": 99}, **SUBTASKS}, scoring=True)
    progress = group_progress(tree, dict.fromkeys(CASES, Result(AC)))
    assert progress.outcome == Result(IE)
    assert progress.problems == ("secret: the score 100 exceeds its maximum of 99",)


def test_secret_may_take_the_least_of_its_groups_or_all_or_nothing() -> None:
    for aggregation, score in (("min", 30), ("pass-fail", 80)):
        secret = {"secret": {"score_aggregation": aggregation, "max_score": 80}}
        tree = group_tree(CASES, secret | SUBTASKS, scoring=True)
        assert run(tree, {})[0][ROOT] == Result(AC, score)
        assert run(tree, {"secret/a/1": WA})[0][ROOT] == Result(WA, 0)


def test_a_group_waits_for_those_it_requires_and_is_skipped_when_they_fail() -> None:
    """The section "Group dependencies": not run, score 0, and not accepted for those that require it in turn."""
    requires: Yaml = {
        "secret/a": {"max_score": 20, "require_pass": "sample"},
        "secret/b": {"max_score": 30, "require_pass": ["secret/a"]},
        "secret/c": {"max_score": 50, "require_pass": ["secret/b", "sample"]},
    }
    cases = [*CASES, "secret/c/1"]
    tree = group_tree(cases, requires, scoring=True)
    assert group_progress(tree, {}).may_run == ("sample/1",)
    assert group_progress(tree, {"sample/1": Result(AC)}).may_run == ("secret/a/1", "secret/a/2")
    failed = group_progress(tree, {"sample/1": Result(AC), "secret/a/2": Result(WA)})
    assert failed.may_run == ("secret/a/1",)
    assert [failed.results[case] for case in cases[3:]] == [Result(SK)] * 3
    results, _ = run(tree, {"secret/a/2": WA})
    assert results[ROOT] == Result(WA, 0)
    assert results["secret/b"] == results["secret/c"] == Result(SK, 0)
    assert run(tree, {"secret/b/1": WA})[0][ROOT] == Result(WA, 20)
    assert run(tree, {"sample/1": TLE}) == (
        {**dict.fromkeys(cases, Result(SK)), "sample/1": Result(TLE), "sample": Result(TLE)}
        | dict.fromkeys(["secret/a", "secret/b", "secret/c"], Result(SK, 0))
        | {"secret": Result(SK, 0), ROOT: Result(TLE, 0)},
        ["sample/1"],
    )


def test_secret_itself_may_require_the_sample() -> None:
    tree = group_tree(["sample/1", "secret/1"], {"secret": {"require_pass": "sample"}}, scoring=True)
    assert run(tree, {"sample/1": WA})[0]["secret/1"] == Result(SK)
    assert run(tree, {})[0][ROOT] == Result(AC, 100)


def test_keys_of_the_drafts_are_understood() -> None:
    """The format's own example of a scoring problem still has them."""
    draft: Yaml = {
        "secret": {"scoring": {"aggregation": "sum"}},
        "secret/a": {"scoring": {"score": 30, "aggregation": "min"}},
        "secret/b": {"grading": {"max_score": 70, "aggregation": "min", "require-pass": "sample"}},
    }
    tree = group_tree(CASES, draft, scoring=True)
    assert run(tree, {"secret/a/1": WA})[0][ROOT] == Result(WA, 70)
    assert tree.parts[1].settings.require_pass == ("sample",)


@pytest.mark.parametrize(
    ("configured", "problem"),
    [
        ({"secret/a": {"max_score": -1}, "secret/b": {}}, "secret/a: max_score must not be negative"),
        ({"secret/a": {"max_score": "x"}, "secret/b": {}}, "secret/a: max_score must be a number"),
        ({"secret/a": {"score_aggregation": "max"}, "secret/b": {}}, "secret/a: score_aggregation must be one of"),
        ({"secret/a": {"require_pass": 1}, "secret/b": {}}, "secret/a: require_pass must be a name"),
        ({"secret/a": {"static_validation_score": 1}, "secret/b": {}}, "secret/a: static validation is not supported"),
        ({"sample": {"max_score": 1}}, "sample: max_score is not permitted in sample"),
        ({"secret/a": {}}, "secret/b/1: belongs to no test data group"),
        ({"secret/a": {}, "secret/b": {}, "secret/b/sub": {}}, "secret/b/sub: a test data group has no groups in it"),
        ({"secret/a": {}, "secret/b": {}, "secret/c": {}}, "secret/c: a test data group needs a test case"),
        ({"secret/a": {"max_score": 1}, "secret/b": {}}, "secret/b: needs a max_score"),
        ({"secret": {"max_score": "unbounded"}, **SUBTASKS, "secret/a": {}}, "secret/a: needs a max_score"),
        (
            {"secret": {"max_score": "unbounded", "score_aggregation": "pass-fail"}},
            "secret: pass-fail aggregation needs a max_score",
        ),
        (
            {"secret": {"score_aggregation": "pass-fail"}, **SUBTASKS, "secret/a": {"score_aggregation": "sum"}},
            "secret/a: secret is pass-fail, so its groups must be",
        ),
        ({"secret": {"require_pass": "secret/a"}, **SUBTASKS}, "secret: may only require sample"),
        ({**SUBTASKS, "secret/a": {"max_score": 1, "require_pass": "secret/b"}}, "secret/a: requires secret/b"),
        ({**SUBTASKS, "secret/a": {"max_score": 1, "require_pass": "secret/a"}}, "secret/a: requires secret/a"),
        (
            {
                "secret/a": {"max_score": 1, "score_aggregation": "sum"},
                "secret/b": {"max_score": 1, "require_pass": "secret/a"},
            },
            "secret/b: requires secret/a, which is no earlier pass-fail group",
        ),
    ],
)
def test_what_the_format_forbids_is_refused_with_its_place(configured: Yaml, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        group_tree(CASES, configured, scoring=True)


def test_pass_fail_problems_have_no_scores() -> None:
    with pytest.raises(ValueError, match="secret: max_score is for scoring problems only"):
        group_tree(CASES, {"secret": {"max_score": 1}}, scoring=False)


def test_keys_that_have_nothing_to_do_with_scores_are_ignored() -> None:
    assert Settings.of({"output_validator_args": ["case_sensitive"], "full_feedback": True}, "secret/a") == Settings()


def random_tree(chance: random.Random) -> GroupTree:
    scoring = chance.random() < 0.7
    configured: Yaml = {}
    earlier = ["sample"]
    cases = [f"sample/{index}" for index in range(chance.randrange(3))]
    for group in "abc":
        name = f"secret/{group}"
        cases += [f"{name}/{index}" for index in range(chance.randrange(1, 4))]
        aggregation = chance.choice(["pass-fail", "sum", "min"])
        required = chance.sample(earlier, chance.randrange(min(3, len(earlier) + 1)))
        configured[name] = (
            {"max_score": 30, "score_aggregation": aggregation, "require_pass": required} if scoring else {}
        )
        earlier += [name] if aggregation == "pass-fail" else []
    return group_tree(cases, configured, scoring)


@pytest.mark.parametrize("stop", [False, True])
def test_running_many_cases_at_once_comes_to_the_same_as_one_after_the_other(stop: bool) -> None:
    """Results come in any order; no result depends on who was quicker, and stopping changes no score and no verdict."""
    chance = random.Random(1)
    for _ in range(300):
        tree = random_tree(chance)
        every = [case for part in (tree.sample, *tree.parts) for case in part.cases]
        verdicts = {case: chance.choice([AC, AC, AC, AC, WA, TLE]) for case in every}
        expected, _ = run(tree, verdicts, stop)
        known: dict[str, Result] = {}
        while (progress := group_progress(tree, known, stop)).outcome is None:
            case = chance.choice(progress.may_run)
            known[case] = Result(verdicts[case])
        assert progress.results == expected
        assert expected[ROOT] == run(tree, verdicts)[0][ROOT]
        score = expected[ROOT].score
        assert score == reference_score(tree, verdicts) if tree.scoring else score is None


def reference_score(tree: GroupTree, verdicts: Mapping[str, Verdict]) -> float:
    """The score by the sentences of the format, for groups of at most 30 points without scores of validators."""
    passed = {"sample": all(verdicts[case] is AC for case in tree.sample.cases)}
    total = 0.0
    for part in tree.parts:
        allowed = all(passed[name] for name in part.settings.require_pass)
        accepted = [verdicts[case] is AC for case in part.cases]
        passed[part.name] = allowed and all(accepted)
        if allowed:
            share = sum(accepted) / len(accepted) if part.settings.aggregation == "sum" else float(all(accepted))
            total += 30 * share
    return pytest.approx(total)  # type: ignore[no-any-return]
