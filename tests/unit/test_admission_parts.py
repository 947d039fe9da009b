"""Slots, places and room for bodies: what is taken is given back, and what is full is told at once."""

import asyncio

import pytest

from daemon.api.admission import ROOM_BYTES, SMALL_BYTES, Admission
from daemon.api.errors import ApiProblem

LARGE = ROOM_BYTES + SMALL_BYTES


async def test_the_places_are_bounded_and_the_next_is_refused() -> None:
    admission = Admission(slots=1, places=1)
    async with admission.slot():
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        with pytest.raises(ApiProblem) as refused:
            admission.check()
        assert (refused.value.status, refused.value.code) == (503, "queue_full")
        assert "1/1 running, 1/1 waiting" in repr(admission)
    await waiting
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_slot_that_is_released_early_is_released_once() -> None:
    admission = Admission(slots=1, places=0)
    async with admission.slot() as slot:
        slot.release()
        slot.release()
        async with admission.slot():
            assert admission.running == 1
            with pytest.raises(ApiProblem):
                admission.check()
    assert admission.running == 0


async def test_whoever_is_cancelled_while_waiting_leaves_his_place() -> None:
    admission = Admission(slots=1, places=1)
    async with admission.slot():
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert admission.waiting == 0


def test_room_is_counted_by_what_came_and_small_bodies_are_always_admitted() -> None:
    admission = Admission(slots=1, places=0)
    with admission.room() as large:
        large.resize(LARGE)
        with admission.room() as small:
            small.resize(SMALL_BYTES)
            with pytest.raises(ApiProblem, match="Too many large requests"):
                small.resize(SMALL_BYTES + 1)
        large.resize(100)
        with admission.room() as other:
            other.resize(LARGE)
    assert admission.body_bytes == 0


async def _hold(admission: Admission) -> None:
    async with admission.slot():
        pass
