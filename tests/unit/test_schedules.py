"""Which tests may run next, in a list of them."""

from daemon.grading.schedules import Listed
from daemon.grading.scoring import ROOT, Result
from daemon.grading.verdicts import Verdict

NAMES = ["a", "b", "c"]
AC, WA, IE, SK = Verdict.AC, Verdict.WA, Verdict.IE, Verdict.SK


def known(**verdicts: Verdict) -> dict[str, Result]:
    return {name: Result(verdict) for name, verdict in verdicts.items()}


def test_all_may_run_at_first_and_in_their_order() -> None:
    progress = Listed(NAMES, stop_on_failure=True).progress({})
    assert (progress.may_run, progress.outcome, dict(progress.results)) == (("a", "b", "c"), None, {})


def test_results_settle_in_order_whatever_comes_first() -> None:
    progress = Listed(NAMES, stop_on_failure=False).progress(known(b=WA))
    assert (progress.may_run, dict(progress.results)) == (("a", "c"), {})
    progress = Listed(NAMES, stop_on_failure=False).progress(known(b=WA, a=AC))
    assert (progress.may_run, set(progress.results)) == (("c",), {"a", "b"})


def test_what_follows_a_failure_leaves_the_list_and_is_skipped_whatever_it_gave() -> None:
    progress = Listed(NAMES, stop_on_failure=True).progress(known(b=WA, c=AC))
    assert progress.may_run == ("a",)
    progress = Listed(NAMES, stop_on_failure=True).progress(known(a=AC, b=WA, c=IE))
    assert [progress.results[name].verdict for name in NAMES] == [AC, WA, SK]
    assert progress.outcome == Result(WA)


def test_the_first_failure_is_the_verdict_and_a_failure_of_ours_wins() -> None:
    schedule = Listed(NAMES, stop_on_failure=False)
    assert schedule.progress(known(a=AC, b=AC, c=AC)).outcome == Result(AC)
    assert schedule.progress(known(a=AC, b=WA, c=Verdict.TLE)).outcome == Result(WA)
    assert schedule.progress(known(a=WA, b=AC, c=IE)).results[ROOT] == Result(IE)
