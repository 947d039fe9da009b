"""Why a run ended: every combination of signs that was thought of, and which goes first."""

import dataclasses

import pytest

from daemon.host.cgroup import OutOfMemory
from daemon.keeper.end_cause import Signs, cause
from daemon.sandbox.model import KilledBy

QUIET = OutOfMemory(own=False, killed=False)
OWN = OutOfMemory(own=True, killed=True)
OTHERS = OutOfMemory(own=False, killed=True)
EXITED = Signs(None, False, 0, QUIET, False, 5, None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"wait_status": 9}, None),  # it killed itself: a fact in the wait status
        ({"wait_status": None}, KilledBy.LOST),  # init went without a word
        ({"killed_by": KilledBy.WALL, "wait_status": None}, KilledBy.WALL),
        ({"killed_by": KilledBy.OUTPUT}, KilledBy.OUTPUT),
        ({"killed_by": KilledBy.CLIENT}, KilledBy.CLIENT),
        ({"memory": OWN}, KilledBy.MEMORY),  # a child was killed while main lived on
        ({"memory": OWN, "wait_status": None}, KilledBy.MEMORY),  # init was the victim
        ({"memory": OWN, "killed_by": KilledBy.WALL}, KilledBy.MEMORY),
        ({"memory": OWN, "killed_by": KilledBy.OUTPUT}, KilledBy.MEMORY),
        ({"memory": OTHERS, "wait_status": 9}, KilledBy.LOST),  # the host's shortage
        ({"memory": OTHERS, "killed_by": KilledBy.MEMORY}, KilledBy.LOST),
        ({"too_small": True, "killed_by": KilledBy.MEMORY, "wait_status": None}, KilledBy.MEMORY),
        ({"cpu_limit_ns": 4}, KilledBy.CPU),  # it ended between two looks at the counter
        ({"cpu_limit_ns": 5}, None),
        ({"cpu_limit_ns": 4, "cpu_ns": None}, None),
        ({"cpu_limit_ns": 4, "killed_by": KilledBy.WALL}, KilledBy.CPU),
        ({"cpu_limit_ns": 4, "killed_by": KilledBy.OUTPUT}, KilledBy.OUTPUT),
        ({"cpu_limit_ns": 4, "memory": OWN}, KilledBy.MEMORY),
        ({"lacked_processes": True, "wait_status": 256}, KilledBy.LOST),  # the host's shortage, too
        ({"lacked_processes": True, "memory": OWN}, KilledBy.MEMORY),
        ({"failed": True, "killed_by": KilledBy.LOST, "memory": OWN}, KilledBy.LOST),
    ],
    ids=str,
)
def test_the_first_cause_that_applies_is_told(change: dict[str, object], expected: KilledBy | None) -> None:
    assert cause(dataclasses.replace(EXITED, **change)) is expected
