"""A language that does not work for long is told of in the log, and does not fill it."""

from daemon.judge.self_tests import AGAIN_S, CHANGED_S, RETOLD_S_MAX, Failures


def told_at(problems: list[str]) -> list[int]:
    """The numbers of those that are logged, one failure after the other as the self-tests have them."""
    failures = Failures()
    return [number for number, problem in enumerate(problems) if failures.is_told(problem, 1000 + number * AGAIN_S)]


def test_a_problem_that_lasts_is_told_at_once_and_then_ever_more_rarely() -> None:
    assert told_at(["away"] * 200) == [0, 10, 30, 70, 150]


def test_a_problem_that_lasts_for_days_is_told_once_an_hour() -> None:
    told = told_at(["away"] * 200_000)
    assert len(told) < 65
    assert told[-1] - told[-2] == RETOLD_S_MAX


def test_another_problem_is_told_and_begins_anew() -> None:
    assert told_at(["away"] * 50 + ["no space"] * 50) == [0, 10, 30, 50, 60, 80]


def test_a_problem_whose_words_change_each_time_is_bounded_too() -> None:
    assert told_at([f"{number} s" for number in range(100)]) == list(range(0, 100, int(CHANGED_S)))


def test_failures_are_counted_whether_or_not_they_are_told() -> None:
    failures = Failures()
    for number in range(25):
        failures.is_told("away", float(number))
    assert failures.count == 25
