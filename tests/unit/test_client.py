"""The HTTP process's side of the keeper's socket: what the keeper would not take is never sent, and hurts nobody else."""

import asyncio
import os
import pathlib
import socket
import time

import pytest

from daemon.sandbox import messages, wire
from daemon.sandbox.client import Client
from daemon.sandbox.model import WAITING_MAX, Limits
from daemon.sandbox.order import BadOrder, Order
from daemon.sandbox.running import BUSY_S, Running

LIMITS = Limits(memory_bytes=128 << 20, wall_ns=10**10, processes=64, cpu_ns=None, cpu_share_ms=None)
NEVER = {
    "no wall time": {"limits": Limits(1 << 20, 0, 64, None, None)},
    "too much CPU time": {"limits": Limits(1 << 20, 1, 64, 1 << 63, None)},
    "NUL": {"args": ("a\0b",)},
    "a lone surrogate": {"args": ("\ud800",)},
    "long arguments": {"args": ("x" * 40_000,)},
    "long arguments as JSON": {"args": ("\x01" * 12_000,)},
    "a long name": {"toolchain": "x" * 5000},
}


def order(**changes: object) -> Order:
    fields: dict[str, object] = {
        "toolchain": "python",
        "step": "run",
        "limits": LIMITS,
        "output_bytes": 1000,
        **changes,
    }
    return Order(**fields)  # type: ignore[arg-type]


def test_a_graded_run_is_given_the_time_that_the_keeper_lets_it_wait_for_a_processor() -> None:
    """Else a starved one would be given up before the keeper has said how it went."""
    assert order().longest_s == 10.0
    assert order(graded=True).longest_s == 10.0 + WAITING_MAX * 10.0


async def test_who_waits_for_a_jail_for_long_or_for_a_core_is_no_sign_of_a_busy_host() -> None:
    """A language whose wardens are gone would else keep the runs of all others out while many come."""
    loop, now_s = asyncio.get_running_loop(), time.monotonic()
    run, graded = (Running(loop, given, 1, lambda _: None) for given in (order(), order(graded=True)))
    assert run.waits_for_jail(now_s) and not run.waits_for_jail(now_s + 2 * BUSY_S)
    assert not graded.waits_for_jail(now_s)
    run.started.set_result([])
    assert not run.waits_for_jail(now_s)


async def heard(keeper: socket.socket) -> messages.Message:
    """The next message that comes to the keeper."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(keeper, readable.set)
    try:
        await asyncio.wait_for(readable.wait(), 10)
    finally:
        loop.remove_reader(keeper)
    received = wire.receive(keeper)
    assert received is not None
    return messages.decode(received[0], len(received[1]), messages.TO_KEEPER)


async def test_a_run_that_the_keeper_would_not_take_fails_alone(tmp_path: pathlib.Path) -> None:
    """The keeper closes a peer that sends nonsense, with all of its runs: so the neighbour's must not be touched."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "keeper.sock"))
        listening.listen()
        async with Client(str(tmp_path / "keeper.sock"), 10) as client:
            keeper = (await asyncio.to_thread(listening.accept))[0]
            with keeper:
                keeper.setblocking(False)
                wire.send(keeper, messages.Hello("v2", (0,), True).encode(), [])
                wire.send(keeper, messages.Stats(0, {"python": "ready"}, {}, 0, {}, {}, {}).encode(), [])
                await asyncio.wait_for(client.wait_ready("python"), 10)
                neighbour = asyncio.create_task(client.run(order()))
                ordered = await heard(keeper)
                assert isinstance(ordered, messages.Run)
                for changes in NEVER.values():
                    with pytest.raises(BadOrder):
                        await client.run(order(**changes))
                    assert isinstance(await heard(keeper), messages.Kill)  # of what nobody has heard of: no error
                assert not neighbour.done()
                pipes = [os.pipe() for _ in range(3)]
                near = [pipes[0][1], pipes[1][0], pipes[2][0]]
                wire.send(keeper, messages.Started(ordered.run).encode(), near)
                wire.send(keeper, messages.Ended(ordered.run, 0, None, 1, 1, 1).encode(), [])
                for descriptor in {one for pipe in pipes for one in pipe}:
                    os.close(descriptor)
                assert (await asyncio.wait_for(neighbour, 10)).outcome.wait_status == 0
