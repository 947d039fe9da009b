"""The short form of `./bootstrap chaos`: blows in random order under load, by a seed that is always the same."""

import pytest

from tests.chaos import plan
from tests.chaos.plan import Kind, Part
from tests.chaos.run import run

SEED, SECONDS = 64, 4.0  # no blow of its first steps lasts longer than a second


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is its own, and what it leaves is asked for below."""


@pytest.mark.threat("P2", "D6")
@pytest.mark.slow
async def test_under_random_blows_no_answer_is_wrong_or_missing_and_nothing_is_left() -> None:
    """How soon it heals depends on the host, and is printed by the long form; that it heals does not."""
    lines: list[str] = []
    seen = await run(SEED, ["python", "rust"], SECONDS, lines.append)
    report = "\n".join([*lines, *seen.told.wrong])
    assert seen.told.wrong_count == 0, report
    assert seen.told.right, report
    assert seen.healings and all(healing.took_s is not None for healing in seen.healings), report
    assert not seen.left, report
    assert (seen.after.zombies, seen.after.groups, seen.after.mounts) == (0, seen.before.groups, seen.before.mounts), (
        report
    )


def test_a_plan_follows_from_its_seed_and_has_every_blow() -> None:
    steps = plan.steps(SEED, 100)
    assert steps == plan.steps(SEED, 100)
    assert steps != plan.steps(SEED + 1, 100)
    blows = [blow for step in steps for blow in step.blows]
    assert {blow.kind for blow in blows} == set(Kind)
    assert {(blow.kind, blow.part) for blow in blows if blow.part is not None} == {
        (kind, part) for kind in (Kind.KILL, Kind.STOP) for part in Part
    }
