"""A package's own grader of test groups: the results of a group go in, one result comes out (legacy, "Graders")."""

import dataclasses
from collections.abc import Sequence

from daemon.judge.executor import Built, Executor
from daemon.judge.submission import Submission
from daemon.sandbox.order import BadOrder, Finished, SandboxUnavailable

from .checking import CheckerFailed, exit_code, failure, judge_order, number
from .scoring import GraderCall, Result
from .verdicts import Verdict

ATTEMPTS = 2  # our own failure is repeated once
WORDS = {"AC": Verdict.AC, "WA": Verdict.WA, "RTE": Verdict.RE, "TLE": Verdict.TLE, "MLE": Verdict.MLE}
OF_VERDICT = {Verdict.AC: "AC", Verdict.WA: "WA", Verdict.TLE: "TLE"}  # what else a run may get is RTE to a grader


class GroupGrader:
    """Runs the grader, in a jail of its own, for each group that asks for it."""

    def __init__(self, executor: Executor, submission: Submission, built: Built) -> None:
        self._executor, self._submission, self._built = executor, submission, built

    async def grade(self, call: GraderCall) -> Result:
        """Raises CheckerFailed where it gave no result, or where it could not be run."""
        order = judge_order(self._submission, self._built, self._built.files, call.flags, None, graded=False)
        order = dataclasses.replace(order, stdin=lines(call.results))
        for _ in range(ATTEMPTS):
            try:
                return result_of(await self._executor.run(order))
            except SandboxUnavailable:
                continue
            except BadOrder as error:
                raise CheckerFailed(str(error)) from error
        raise CheckerFailed("the sandbox could not run the grader")


def lines(results: Sequence[Result]) -> bytes:
    """A line for each result: a code and a score, 0 where there is none."""
    return "".join(f"{OF_VERDICT.get(one.verdict, 'RTE')} {one.score or 0:.12g}\n" for one in results).encode()


def result_of(finished: Finished) -> Result:
    """What it printed. Raises CheckerFailed for anything but exit code 0 and one line as it was given."""
    code = exit_code(finished)
    if code != 0:
        raise CheckerFailed(failure(finished, code, "", "the grader"))
    said = finished.stdout[:1000].decode("utf-8", "replace")
    words = said.split()
    score = number(words[1]) if len(words) == 2 and words[0] in WORDS else None
    if score is None:
        raise CheckerFailed(f"the grader printed no result: {said.strip()!a:.200}")
    return Result(WORDS[words[0]], score)
