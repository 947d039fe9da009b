"""What is said to a program while it runs waits for it, and comes in order."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from daemon.sandbox.dialogue import Dialogue

PIPE_BYTES = 64 << 10  # pipe(7)


@pytest.fixture
def stdin() -> Iterator[tuple[int, int]]:
    """A program's end and ours, which the dialogue closes."""
    heard, given = os.pipe()
    yield heard, given
    os.close(heard)


async def test_what_is_said_before_the_program_runs_waits_for_it(stdin: tuple[int, int]) -> None:
    dialogue, sent = Dialogue(), list[int]()
    dialogue.say(b"one ")
    dialogue.signal(15)
    dialogue.say(b"two")
    assert (dialogue.waiting_bytes, dialogue.is_heard) == (7, False)
    dialogue.begin(asyncio.get_running_loop(), stdin[1], sent.append)
    assert (os.read(stdin[0], 100), sent, dialogue.waiting_bytes, dialogue.is_heard) == (b"one two", [15], 0, True)
    dialogue.close()
    assert os.read(stdin[0], 1) == b""


async def test_what_a_program_has_no_room_for_comes_as_it_reads(stdin: tuple[int, int]) -> None:
    dialogue, loop = Dialogue(), asyncio.get_running_loop()
    dialogue.begin(loop, stdin[1], lambda _: None)
    said = bytes(range(256)) * 1024
    dialogue.say(said)
    assert dialogue.waiting_bytes == len(said) - PIPE_BYTES
    heard = b""
    os.set_blocking(stdin[0], False)
    while len(heard) < len(said):
        readable = asyncio.Event()
        loop.add_reader(stdin[0], readable.set)
        await readable.wait()
        loop.remove_reader(stdin[0])
        heard += os.read(stdin[0], PIPE_BYTES)
    assert heard == said
    dialogue.close()
    dialogue.close()


async def test_a_program_that_has_closed_its_input_is_told_nothing_more() -> None:
    heard, given = os.pipe()
    dialogue = Dialogue()
    dialogue.begin(asyncio.get_running_loop(), given, lambda _: None)
    os.close(heard)
    dialogue.say(b"anybody?")
    assert dialogue.waiting_bytes == 0
    dialogue.close()


async def test_a_run_that_was_lost_before_it_heard_anything_leaves_all_to_the_next(stdin: tuple[int, int]) -> None:
    dialogue, lost = Dialogue(), os.pipe()
    dialogue.begin(asyncio.get_running_loop(), lost[1], lambda _: None)
    dialogue.close()
    os.close(lost[0])
    dialogue.say(b"hello")
    assert not dialogue.is_heard
    dialogue.begin(asyncio.get_running_loop(), stdin[1], lambda _: None)
    assert os.read(stdin[0], 100) == b"hello"
    dialogue.close()
