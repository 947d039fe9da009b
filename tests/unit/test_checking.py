"""A program never waits long for its output to be compared: what is slow to compare is kept until it has ended."""

import asyncio
import contextlib
import os
from collections.abc import Iterator

import pytest

from daemon.grading.checking import COMPARING_S, Comparison
from daemon.grading.tokens import TokenOptions
from daemon.sandbox.descriptors import memfd

NUMBERS = 200_000
TOLERANT = TokenOptions(float_tolerance=1e-6)
CHUNK = 1 << 16


class Clock:
    """Every look at it is a hundredth of a second after the last."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.01
        return self.now_s


@contextlib.contextmanager
def comparison(answer: bytes) -> Iterator[Comparison]:
    expected = memfd("answer", answer)
    found = Comparison(TOLERANT, expected, COMPARING_S, Clock())
    try:
        yield found
    finally:
        found.close()
        os.close(expected)


def hear(found: Comparison, output: bytes) -> None:
    for start in range(0, len(output), CHUNK):
        found.hear("stdout", output[start : start + CHUNK])


@pytest.mark.parametrize(("last", "accepted"), [(b"1.500001\n", True), (b"1.6\n", False), (b"", False)])
def test_what_is_compared_afterwards_has_the_same_answer(last: bytes, accepted: bool) -> None:
    with comparison(b"1.5\n" * NUMBERS) as found:
        hear(found, b"1.500000000\n" * (NUMBERS - 1) + last)
        answer = asyncio.run(found.answer())
    assert answer.accepted is accepted
    assert accepted == (not answer.message)


def test_a_program_waits_for_a_few_chunks_at_most() -> None:
    """The clock says that each chunk takes a hundredth of a second."""
    clock = Clock()
    expected = memfd("answer", b"1.5\n" * NUMBERS)
    found = Comparison(TOLERANT, expected, COMPARING_S, clock)
    hear(found, b"1.500000000\n" * NUMBERS)
    assert clock.now_s <= 2 * COMPARING_S + 0.05
    found.close()
    os.close(expected)


def test_what_is_rejected_already_is_not_kept() -> None:
    """However much a program goes on to say."""
    before = len(os.listdir("/proc/self/fd"))
    with comparison(b"1.5\n" * NUMBERS) as found:
        hear(found, b"2\n" * NUMBERS)
        assert len(os.listdir("/proc/self/fd")) == before + 1  # the answer
        assert asyncio.run(found.answer()).accepted is False


def test_nothing_is_held_after_the_check() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with comparison(b"1.5\n" * NUMBERS) as found:
        hear(found, b"1.500000000\n" * NUMBERS)
    assert len(os.listdir("/proc/self/fd")) == before
