"""The keeper's loop and the driver of its machines: no callback's exception stops more than its own owner."""

from __future__ import annotations

import os

from daemon.keeper.loop import Loop
from daemon.keeper.machine import TICK, Machine, Tick


def test_an_exception_is_blamed_on_its_owner_and_the_loop_goes_on() -> None:
    loop, blamed, heard = Loop(), [], []
    guilty, innocent = loop.guard(blamed.append), loop.guard(lambda error: None)
    reader, writer = os.pipe()

    def broken() -> None:
        raise OSError(24, "too many open files")

    def stop() -> None:
        heard.append(os.read(reader, 9))
        loop.stop()

    guilty.soon(broken)
    guilty.after(0.001, broken)
    innocent.watch(reader, stop)
    innocent.after(0.01, lambda: os.write(writer, b"on") and None)
    loop.run()
    assert heard == [b"on"]
    assert [type(error) for error in blamed] == [OSError, OSError]


def test_a_blame_that_fails_too_stops_nothing() -> None:
    loop = Loop()

    def broken(*_: object) -> None:
        raise ValueError("again")

    loop.guard(broken).soon(broken)
    loop.guard(broken).after(0.001, loop.stop)
    loop.run()


def test_what_is_due_soon_comes_one_turn_later_and_before_any_waiting() -> None:
    loop, order = Loop(), []
    guard = loop.guard(lambda error: None)

    def first() -> None:
        guard.soon(lambda: order.append("soon"))
        order.append("first")

    guard.soon(first)
    guard.after(0.02, loop.stop)
    loop.run()
    assert order == ["first", "soon"]


def test_a_descriptor_unwatched_by_an_earlier_callback_of_the_same_turn_is_not_called() -> None:
    loop, heard = Loop(), []
    guard = loop.guard(lambda error: None)
    pipes = [os.pipe(), os.pipe()]

    def hear(index: int) -> None:
        heard.append(index)
        for reader, _ in pipes:
            guard.unwatch(reader)
        loop.stop()

    for index, (reader, writer) in enumerate(pipes):
        os.write(writer, b"x")
        guard.watch(reader, lambda index=index: hear(index))
    loop.run()
    assert len(heard) == 1


class Counter:
    """A machine that counts events; "twice" feeds itself once more, "fail" cannot be performed."""

    def __init__(self) -> None:
        self.loop, self.blamed = Loop(), []
        self.performed: list[str] = []
        self.machine: Machine[int, str, str] = Machine(
            self.loop.guard(self.blamed.append), 0, self.decide, lambda state: None, self.perform
        )

    def decide(self, state: int, event: str | Tick, now: float) -> tuple[int, list[str]]:
        return state + 1, [] if isinstance(event, Tick) else [event, f"after {event}"]

    def perform(self, effect: str) -> None:
        if effect == "fail":
            raise ValueError(effect)
        if effect == "twice":
            self.machine.feed("once")
        self.performed.append(effect)


def test_an_event_within_an_event_waits_for_its_turn() -> None:
    counter = Counter()
    counter.machine.feed("twice")
    assert counter.performed == ["twice", "after twice", "once", "after once"]


def test_an_effect_that_fails_is_blamed_and_the_next_is_performed() -> None:
    counter = Counter()
    counter.machine.feed("fail")
    counter.machine.feed(TICK)
    assert counter.performed == ["after fail"]
    assert [str(error) for error in counter.blamed] == ["fail"]
    assert counter.machine.state == 2


def test_a_machine_is_ticked_when_it_is_due_and_not_before() -> None:
    loop, ticks = Loop(), []

    def decide(state: float | None, event: str | Tick, now: float) -> tuple[float | None, list[str]]:
        if isinstance(event, Tick):
            ticks.append((now, state))
            loop.stop()
            return None, []
        return now + 0.02, []

    machine: Machine[float | None, str, str] = Machine(
        loop.guard(lambda error: None), None, decide, lambda state: state, lambda effect: None
    )
    machine.feed("go")
    loop.run()
    ((now, due),) = ticks
    assert due is not None
    assert now >= due


def test_the_first_state_of_a_machine_has_its_deadline_though_no_event_comes() -> None:
    loop = Loop()
    loop.after(5, loop.stop)
    states: list[str] = []

    def decide(state: str, event: object, now: float) -> tuple[str, tuple[str, ...]]:
        return "late", ("late",)

    def perform(effect: str) -> None:
        states.append(effect)
        loop.stop()

    Machine(loop.guard(lambda error: None), "new", decide, lambda state: 0.0 if state == "new" else None, perform)
    loop.run()
    assert states == ["late"]


def test_a_descriptor_that_an_earlier_callback_closed_and_watched_anew_hears_nothing_of_the_old_one() -> None:
    loop, heard = Loop(), []
    guard = loop.guard(lambda error: None)
    pipes = [os.pipe(), os.pipe()]
    for _, writer in pipes:
        os.write(writer, b"x")

    def replace(mine: int, other: int) -> None:
        heard.append("first")
        guard.unwatch(mine)
        guard.unwatch(other)
        guard.watch(other, lambda: heard.append("new") or loop.stop())
        guard.soon(lambda: heard.append("turn over"))

    for (one, _), (another, _) in (pipes, pipes[::-1]):
        guard.watch(one, lambda one=one, another=another: replace(one, another))
    loop.run()
    assert heard == ["first", "turn over", "new"]


def test_a_hang_up_is_heard_by_who_reads_and_by_who_writes() -> None:
    loop, heard = Loop(), []
    guard = loop.guard(lambda error: None)
    reader, writer = os.pipe()
    guard.watch(writer, lambda: heard.append("read") or guard.watch_write(writer, write))

    def write() -> None:
        heard.append("write")
        guard.watch_write(writer, None)
        loop.stop()

    os.close(reader)
    loop.run()
    assert heard == ["read", "write"]
