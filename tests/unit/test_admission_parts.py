"""Slots, places and room for bodies: what is taken is given back, and what is full is told at once."""

import asyncio
import contextlib

import pytest

from daemon.api.admission import ROOM_BYTES, SMALL_BYTES, Admission
from daemon.api.client import Client
from daemon.api.errors import ApiProblem
from daemon.api.tokens import Token, hash_of
from daemon.turns.line import Refusal
from daemon.turns.seats import Refused

CLIENT = Client("address 192.0.2.1")
SHARE = ROOM_BYTES * 3 // 4 + SMALL_BYTES


async def test_the_places_are_bounded_and_the_next_is_refused() -> None:
    admission = Admission(slots=1, places=1)
    async with admission.slot(CLIENT):
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            admission.check(CLIENT)
        assert refused.value.refusal is Refusal.FULL
        assert "1/1 running, 1/1 waiting" in repr(admission)
    await waiting
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_slot_that_is_released_early_is_released_once() -> None:
    admission = Admission(slots=1, places=0)
    async with admission.slot(CLIENT) as slot:
        slot.release()
        slot.release()
        async with admission.slot(CLIENT):
            assert admission.running == 1
            with pytest.raises(Refused):
                admission.check(CLIENT)
    assert admission.running == 0


async def test_whoever_is_cancelled_while_waiting_leaves_his_place() -> None:
    admission = Admission(slots=1, places=1)
    async with admission.slot(CLIENT):
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert admission.waiting == 0


@pytest.mark.parametrize(("share_of_token", "most"), [(None, 2), (0.5, 5), (0.01, 1), (1.0, 10)])
async def test_a_token_may_say_another_share_than_the_deployment(share_of_token: float | None, most: int) -> None:
    client = Client("token x", Token(id="x", hash=hash_of("x"), share=share_of_token))
    admission = Admission(slots=10, places=0, share=0.2)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(most):
            await stack.enter_async_context(admission.slot(client))
        with pytest.raises(Refused) as refused:
            admission.check(client)
        assert refused.value.refusal is (Refusal.FULL if most == 10 else Refusal.OVER_SHARE)


def test_room_is_counted_by_what_came_and_small_bodies_are_always_admitted() -> None:
    admission = Admission(slots=1, places=0)
    with admission.room(CLIENT) as large:
        large.resize(SHARE)
        with admission.room(CLIENT) as small:
            small.resize(SMALL_BYTES)
            with pytest.raises(ApiProblem, match="take all the room that one client may have") as refused:
                small.resize(SMALL_BYTES + 1)
            assert refused.value.code == "over_share"
        large.resize(100)
        with admission.room(CLIENT) as other:
            other.resize(SHARE)
    assert admission.body_bytes == 0


def test_a_client_that_has_its_share_of_the_room_leaves_some_for_others() -> None:
    admission = Admission(slots=1, places=0)
    with contextlib.ExitStack() as stack:
        for number, size in enumerate((192, 48, 12, 3)):
            room = stack.enter_context(admission.room(Client(f"address 192.0.2.{number}")))
            room.resize((size << 20) + SMALL_BYTES)
            with pytest.raises(ApiProblem):
                room.resize((size << 20) + SMALL_BYTES + 1)
        with admission.room(Client("address 192.0.2.9")) as late, pytest.raises(ApiProblem) as refused:
            late.resize(1 << 20)
        assert refused.value.code == "queue_full"
    assert admission.body_bytes == 0


async def _hold(admission: Admission) -> None:
    async with admission.slot(CLIENT):
        pass
