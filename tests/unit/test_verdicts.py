"""The verdict of a run follows from its facts by a written order, that of a submission from its tests in theirs."""

import itertools
import random

import pytest

from daemon.grading.verdicts import Judgement, RunFacts, Verdict, needed, of_run, of_submission, settled

AC, WA, TLE, RE, IE, SK = Verdict.AC, Verdict.WA, Verdict.TLE, Verdict.RE, Verdict.IE, Verdict.SK

PRECEDENCE = {  # the first that is true decides
    "failure": Judgement(Verdict.IE, "the jail was lost"),
    "memory": Judgement(Verdict.MLE, "memory"),
    "cpu": Judgement(Verdict.TLE, "cpu"),
    "output": Judgement(Verdict.OLE, "output"),
    "wall": Judgement(Verdict.TLE, "wall"),
}
ENDS = {
    (None, 9): Judgement(Verdict.RE, "signal 9 (SIGKILL)"),
    (None, 11): Judgement(Verdict.RE, "signal 11 (SIGSEGV)"),
    (3, None): Judgement(Verdict.RE, "exit code 3"),
    (0, None): None,
    (None, None): None,
}


@pytest.mark.parametrize(("exit_code", "signal"), list(ENDS))
@pytest.mark.parametrize("accepted", [None, True, False])
def test_the_first_fact_in_the_order_decides(exit_code: int | None, signal: int | None, accepted: bool | None) -> None:
    """Every combination of broken limits, ends and checker's answers."""
    for broken in itertools.product([False, True], repeat=len(PRECEDENCE)):
        facts = dict(zip(PRECEDENCE, broken, strict=True))
        failure = "the jail was lost" if facts.pop("failure") else None
        run = RunFacts(exit_code=exit_code, signal=signal, failure=failure, **facts)
        expected = next(
            (PRECEDENCE[name] for name, is_broken in zip(PRECEDENCE, broken, strict=True) if is_broken), None
        )
        expected = expected or ENDS[exit_code, signal]
        if expected is None and (accepted is None or exit_code is None):
            with pytest.raises(ValueError):
                of_run(run, accepted)
            continue
        expected = expected or Judgement(AC if accepted else WA)
        assert of_run(run, accepted) == expected
        assert run.clean is (expected.verdict in (AC, WA))


def test_a_run_without_any_fact_is_an_error() -> None:
    with pytest.raises(ValueError, match="ends by itself"):
        of_run(RunFacts(), True)


def test_a_clean_run_needs_the_checker() -> None:
    with pytest.raises(ValueError, match="checked"):
        of_run(RunFacts(exit_code=0))


@pytest.mark.parametrize(
    ("known", "stop", "answer", "count"),
    [
        ((), True, (), 0),
        ((AC, AC), True, (AC, AC), 2),
        ((AC, None, WA, None), False, (AC,), 4),
        ((AC, None, WA, None), True, (AC,), 3),
        ((AC, TLE, WA, None), True, (AC, TLE, SK, SK), 2),
        ((AC, TLE, WA, None), False, (AC, TLE, WA), 4),
        ((None, AC), True, (), 2),
        ((WA, IE), True, (WA, SK), 1),
        ((IE, WA), True, (IE, SK), 1),
        ((None, WA, IE), True, (), 2),
    ],
)
def test_results_are_settled_in_the_order_of_the_tests(
    known: tuple[Verdict | None, ...], stop: bool, answer: tuple[Verdict, ...], count: int
) -> None:
    """A result goes out when those before it are known, and after a failure the rest is skipped."""
    assert settled(known, stop) == answer
    assert needed(known, stop) == count


@pytest.mark.parametrize("stop", [False, True])
def test_the_result_does_not_depend_on_the_order_in_which_tests_end(stop: bool) -> None:
    """Tests run at once: what is settled never changes, and all orders come to the same."""
    chance = random.Random(1)
    for _ in range(300):
        verdicts = [chance.choice([AC, AC, AC, WA, TLE, RE, IE]) for _ in range(chance.randrange(1, 7))]
        finals = set()
        for _ in range(5):
            known: list[Verdict | None] = [None] * len(verdicts)
            told: tuple[Verdict, ...] = ()
            for index in chance.sample(range(len(verdicts)), len(verdicts)):
                if index >= needed(known, stop):
                    continue
                known[index] = verdicts[index]
                now = settled(known, stop)
                assert now[: len(told)] == told
                told = now
            finals.add(told)
        (final,) = finals
        assert len(final) == len(verdicts)
        failing = [verdict for verdict in verdicts if verdict is not AC]
        expected = failing[0] if failing else AC
        assert of_submission(final) is (expected if stop or IE not in verdicts else IE)


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ((), AC),
        ((AC, AC), AC),
        ((AC, TLE, WA), TLE),
        ((AC, WA, SK, SK), WA),
        ((WA, AC, IE), IE),
        ((IE, WA), IE),
    ],
)
def test_the_first_failing_test_decides_and_our_failure_wins(verdicts: tuple[Verdict, ...], verdict: Verdict) -> None:
    assert of_submission(verdicts) is verdict
