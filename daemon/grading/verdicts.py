"""From the facts of runs to verdicts: of one test, and of a submission with all its tests.

Pure: no clock, no descriptor, no task.
"""

import dataclasses
import enum
from collections.abc import Sequence

from daemon.judge.report import signal_name


class Verdict(enum.StrEnum):
    """What a contestant is told. SK is a test that was not run, IE a failure of ours."""

    AC = "AC"
    WA = "WA"
    TLE = "TLE"
    MLE = "MLE"
    OLE = "OLE"
    RE = "RE"
    CE = "CE"
    IE = "IE"
    SK = "SK"

    @property
    def rejects(self) -> bool:
        """True for a test that was run and not accepted; IE is one of them, since judging cannot go on from it."""
        return self not in (Verdict.AC, Verdict.SK)


@dataclasses.dataclass(frozen=True, slots=True)
class RunFacts:
    """What became of one run. Several limits may be broken at once.

    `exit_code` and `signal` say how the program itself ended; both are None where it was ended from outside. `memory`:
    the jail's own oom counter moved. `cpu`: CPU time of the whole jail, children and threads counted, is over its
    limit. `output`: more bytes came than are allowed. `wall`: the deadline passed. `failure` is our own failure (a
    jail that was lost, a checker that did not work), in words; None when there was none.
    """

    exit_code: int | None = None
    signal: int | None = None
    memory: bool = False
    cpu: bool = False
    output: bool = False
    wall: bool = False
    failure: str | None = None

    @property
    def clean(self) -> bool:
        """True when the program ended by itself with 0 within its limits: only then is its output compared."""
        broken = self.memory or self.cpu or self.output or self.wall
        return self.failure is None and not broken and self.signal is None and self.exit_code == 0


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and why: `cpu` or `wall` for TLE, `memory`, `output`, `exit code 3`, `signal 11 (SIGSEGV)`, our failure
    in words for IE; None for AC and WA, which the checker's message explains."""

    verdict: Verdict
    reason: str | None = None


def of_run(run: RunFacts, accepted: bool | None = None) -> Judgement:
    """The judgement of one test. `accepted` is what the checker said of the output, None where it was not asked.

    The first that applies decides:

    1. IE   our failure: nothing that was seen beside it can be trusted.
    2. MLE  the oom counter moved: a program short of memory is also slow, and dies of a signal.
    3. TLE  `cpu`: the limit that a contest is about; a program that floods while it loops is too slow, as in the
            order of errors of the default grader (legacy format, "Default grader specification": MLE, TLE, OLE, WA).
    4. OLE  before the wall: a program whose output nobody reads any more waits until the deadline.
    5. TLE  `wall`: the backstop of sleeping, waiting and deadlock.
    6. RE   a signal or an exit code other than 0, after the limits: what ends a run at its limit is a signal too.
    7. WA, AC  what the checker says.

    Raises ValueError for a clean run without the checker's answer, and for a run without any fact at all.
    """
    if run.failure is not None:
        return Judgement(Verdict.IE, run.failure)
    if run.memory:
        return Judgement(Verdict.MLE, "memory")
    if run.cpu:
        return Judgement(Verdict.TLE, "cpu")
    if run.output:
        return Judgement(Verdict.OLE, "output")
    if run.wall:
        return Judgement(Verdict.TLE, "wall")
    if run.signal is not None:
        return Judgement(Verdict.RE, f"signal {run.signal} ({signal_name(run.signal)})")
    if run.exit_code is None:
        raise ValueError("a run ends by itself, at a limit or by our failure")
    if run.exit_code != 0:
        return Judgement(Verdict.RE, f"exit code {run.exit_code}")
    if accepted is None:
        raise ValueError("the output of a clean run has to be checked")
    return Judgement(Verdict.AC if accepted else Verdict.WA)


def needed(known: Sequence[Verdict | None], stop_on_failure: bool) -> int:
    """How many of the first tests can still matter: a test from this index on need not start, or may be ended.

    `known` has one entry a test in the order of the tests, None while it is not known. With `stop_on_failure` nothing
    after a test that failed matters, even while tests before it are running: the first failure is not later.
    """
    if stop_on_failure:
        for index, verdict in enumerate(known):
            if verdict is not None and verdict.rejects:
                return index + 1
    return len(known)


def settled(known: Sequence[Verdict | None], stop_on_failure: bool) -> tuple[Verdict, ...]:
    """The verdicts that will not change, in order: those before the first unknown one.

    A test after the first failure is SK with `stop_on_failure`, whatever it gave: tests run at once, and the result
    must not depend on which of them was quicker. All tests are settled when the answer is as long as `known`.
    """
    answer: list[Verdict] = []
    for verdict in known[: needed(known, stop_on_failure)]:
        if verdict is None:
            return tuple(answer)
        answer.append(verdict)
    return (*answer, *[Verdict.SK] * (len(known) - len(answer)))


def of_submission(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of a compiled submission from all its settled tests: the first that is not AC, in order.

    IE wins wherever it stands: a grading with a hole in it is no verdict. With `stop_on_failure` a test after the first
    failure is SK before it is asked here, so a failure of ours there takes nothing back. AC when there are no tests.
    """
    if Verdict.IE in verdicts:
        return Verdict.IE
    return next((verdict for verdict in verdicts if verdict is not Verdict.AC), Verdict.AC)
