"""What the gate of MCP holds for clients is bounded. tests/clients/test_mcp.py asks real servers."""

import contextlib

import pytest

from daemon.mcp_server.gate import BODY_BYTES_MAX, REQUESTS_MAX, REQUESTS_OF_ONE_MAX, ROOM_BYTES, Held, Refused


def refusal(held: Held, client: str, size: int) -> tuple[int, str] | None:
    try:
        with held.one(client, size):
            return None
    except Refused as refused:
        return refused.status, refused.code


def test_one_client_has_half_of_the_room_and_few_requests() -> None:
    held = Held()
    with contextlib.ExitStack() as stack:
        for _ in range(ROOM_BYTES // 2 // BODY_BYTES_MAX):
            stack.enter_context(held.one("a", BODY_BYTES_MAX))
        assert refusal(held, "a", BODY_BYTES_MAX) == (429, "over_share")
        assert refusal(held, "b", BODY_BYTES_MAX) is None
    with contextlib.ExitStack() as stack:
        for _ in range(REQUESTS_OF_ONE_MAX):
            stack.enter_context(held.one("a", 0))
        assert refusal(held, "a", 0) == (429, "over_share")
        assert refusal(held, "b", 0) is None
    assert refusal(held, "a", BODY_BYTES_MAX) is None


def test_all_clients_have_no_more_than_the_room() -> None:
    held = Held()
    with contextlib.ExitStack() as stack:
        for client in "ab":
            stack.enter_context(held.one(client, ROOM_BYTES // 2))
        assert refusal(held, "c", 1) == (503, "queue_full")
        assert refusal(held, "c", 0) is None
    with contextlib.ExitStack() as stack:
        for number in range(REQUESTS_MAX):
            stack.enter_context(held.one(f"client {number}", 0))
        assert refusal(held, "another", 0) == (503, "queue_full")


def test_who_is_done_leaves_nothing() -> None:
    held = Held()
    with pytest.raises(ZeroDivisionError), held.one("a", 7):
        _ = 1 / 0
    assert not held._requests and not held._bytes
