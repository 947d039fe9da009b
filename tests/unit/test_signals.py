"""Signals wait for their program, and are looked after no more often than a jail can bear."""

from collections.abc import Callable, Iterable
from typing import cast

from daemon.keeper.loop import Guard, Timer
from daemon.keeper.signals import LOOK_S, Signals


class Clock:
    """A guard's timers, of which the test says when they ring."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.waiting.append((seconds, callback))
        return Timer(callback)

    def ring(self) -> None:
        (_, callback), *self.waiting = self.waiting
        callback()


class Program:
    """It takes signals once it is there."""

    def __init__(self) -> None:
        self.is_there = False
        self.looks = 0
        self.heard: list[int] = []
        self.clock = Clock()
        self.signals = Signals(cast(Guard, self.clock), self.send)

    def send(self, numbers: Iterable[int]) -> bool:
        self.looks += 1
        if self.is_there:
            self.heard += numbers
        return self.is_there


def test_a_program_that_is_there_hears_it_at_once() -> None:
    program = Program()
    program.is_there = True
    program.signals.want(15)
    assert program.heard == [15]


def test_signals_wait_for_a_program_that_is_not_there_and_come_in_their_order_each_once() -> None:
    program = Program()
    for number in (10, 15, 10):
        program.signals.want(number)
    program.clock.ring()
    assert program.heard == []
    program.is_there = True
    program.clock.ring()
    program.clock.ring()
    assert (program.heard, program.clock.waiting) == ([10, 15], [])


def test_many_signals_at_once_are_one_look_in_a_while() -> None:
    program = Program()
    program.is_there = True
    for _ in range(1000):
        program.signals.want(10)
    assert program.looks == 1
    assert [seconds for seconds, _ in program.clock.waiting] == [LOOK_S]
    program.clock.ring()
    assert (program.heard, program.looks) == ([10, 10], 2)


def test_nothing_is_looked_for_when_nothing_waits() -> None:
    program = Program()
    program.is_there = True
    program.signals.want(10)
    program.clock.ring()
    assert (program.looks, program.clock.waiting) == (1, [])
