"""Large answers are made in pieces, between which others have their turn."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from daemon.api import responses, stream
from daemon.api.models import ExecuteResponse

TEXTS = ["", "hello\n", "\0" * 200_000, 'é\ufffd\U0001f600"\\\x7f\u2028' * 30_000, "\r\n\t\b\f" * 40_000]


def answer(text: str) -> ExecuteResponse:
    return ExecuteResponse(
        output=text, error=None, execution_time=1 / 3, success=True, stdout=text, stderr=text, exit_code=0, signal=None,
        reason="exited", cpu_time=None, wall_time=1e-9, compile_time=0.0, memory_bytes=1, truncated=False, cached=False,
        language="python", version="Python", request_id="0" * 32, output_base64=None, stderr_base64="", warnings=None,
    )  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:8]))
def test_the_pieces_together_are_the_answer(text: str) -> None:
    made = answer(text)
    expected = json.loads(made.model_dump_json(exclude={"output_base64", "warnings"}))
    found = responses.to_json(made)
    assert json.loads(found) == expected
    assert list(json.loads(found)) == list(expected), "the order of the fields"
    assert "\n" not in found and "\r" not in found, "an event of a stream is one line"


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:8]))
async def test_in_turns_it_is_the_same_answer(text: str) -> None:
    found = (await responses.to_json_in_turns(answer(text))).decode()
    assert list(json.loads(found).items()) == list(json.loads(responses.to_json(answer(text))).items())
    assert "\n" not in found and "\r" not in found


@pytest.mark.threat("U3")
async def test_others_have_a_turn_after_each_piece_of_a_large_answer() -> None:
    made = answer("\0" * (1 << 20))
    assert max(map(len, responses.pieces(made))) <= 6 * responses.PIECE
    turns = itertools.count()

    async def take_turns() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    taking = asyncio.create_task(take_turns())
    assert await responses.to_json_in_turns(made) == responses.to_json(made).encode()
    taking.cancel()
    assert next(turns) >= 3 * (1 << 20) // responses.PIECE


@pytest.mark.threat("U3")
async def test_of_several_large_answers_one_is_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each turn of others waited for a piece of each: with 8 clients that read a megabyte of NUL, 40 ms."""
    made, pieces = 0, responses.pieces

    def counted(*arguments: Any) -> Iterator[bytes]:
        nonlocal made
        for piece in pieces(*arguments):
            made += len(piece) >= responses.PIECE
            yield piece

    monkeypatch.setattr(responses, "pieces", counted)
    making = [asyncio.create_task(responses.to_json_in_turns(answer("\0" * (1 << 19)))) for _ in range(4)]
    between = []
    while not all(task.done() for task in making):
        before = made
        await asyncio.sleep(0)
        between.append(made - before)
    assert made == 4 * 3 * (1 << 19) // responses.PIECE
    assert max(between) == 1


async def test_a_small_answer_does_not_wait_for_the_large_ones() -> None:
    """Judge0's lists are made of many small ones: twenty waited for seconds."""
    large = asyncio.create_task(responses.to_json_in_turns(answer("\0" * (1 << 20))))
    await asyncio.sleep(0)
    small = asyncio.create_task(responses.in_turns({"stdout": "hello"}.items()))
    await asyncio.sleep(0)
    assert small.done() and not large.done()
    assert small.result() == b'{"stdout":"hello"}'
    await large


async def test_a_ping_never_comes_between_the_parts_of_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its empty line ended the event, and a reader found half of the JSON."""
    written: list[bytes] = []

    async def write(_: web.StreamResponse, data: bytes) -> None:
        written.append(data)
        await asyncio.sleep(0)  # a reader that is slow

    monkeypatch.setattr(web.StreamResponse, "write", write)
    response = stream.Response()
    await asyncio.gather(response.write_parts([b"a", b"b", b"c"]), response.write(b": ping"))
    assert written == [b"a", b"b", b"c", b": ping"]
