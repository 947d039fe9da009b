"""How a run ended, and the verdict that follows: the limits' precedence in grading is not that of the sandbox."""

import pytest

from daemon.grading.run_facts import facts_of
from daemon.grading.verdicts import Verdict, of_run
from daemon.sandbox.model import KilledBy, Limits, Outcome, Usage
from daemon.sandbox.order import Finished

LIMITS = Limits(memory_bytes=1 << 20, wall_ns=90, processes=1, cpu_ns=10)


@pytest.mark.parametrize(
    ("killed_by", "cpu_ns", "truncated", "expected"),
    [
        (None, 10, False, (Verdict.AC, None)),
        (None, None, False, (Verdict.AC, None)),
        (KilledBy.OUTPUT, 10, True, (Verdict.OLE, "output")),
        (KilledBy.OUTPUT, 11, True, (Verdict.TLE, "cpu")),  # a flood that was killed between two looks at the counter
        (None, 10, True, (Verdict.OLE, "output")),  # it ended before it could be killed
        (KilledBy.WALL, 10, False, (Verdict.TLE, "wall")),
        (KilledBy.CPU, 11, True, (Verdict.TLE, "cpu")),
        (KilledBy.MEMORY, 11, True, (Verdict.MLE, "memory")),
    ],
    ids=str,
)
def test_cpu_time_over_its_limit_goes_before_output(
    killed_by: KilledBy | None, cpu_ns: int | None, truncated: bool, expected: tuple[Verdict, str | None]
) -> None:
    outcome = Outcome(wait_status=0, killed_by=killed_by, usage=Usage(wall_ns=20, cpu_ns=cpu_ns, memory_bytes=None))
    judged = of_run(facts_of(Finished(outcome, b"", b"", truncated, {}), LIMITS), accepted=True)
    assert (judged.verdict, judged.reason) == expected
