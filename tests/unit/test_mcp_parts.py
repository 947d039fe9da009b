"""What the gate of MCP holds for clients is bounded. tests/clients/test_mcp.py asks real servers."""

import contextlib

import pytest

from daemon.mcp_server.gate import Bounded, Refused


def refusal(bounded: Bounded, client: str, count: int) -> tuple[int, str] | None:
    try:
        with bounded.held(client, count):
            return None
    except Refused as refused:
        return refused.status, refused.code


def test_one_client_has_its_share_and_all_have_no_more_than_there_is() -> None:
    bounded = Bounded(100, 50, "bytes")
    with contextlib.ExitStack() as stack:
        stack.enter_context(bounded.held("a", 30))
        assert refusal(bounded, "a", 21) == (429, "over_share")
        assert refusal(bounded, "a", 20) is refusal(bounded, "b", 50) is None
        stack.enter_context(bounded.held("b", 50))
        assert refusal(bounded, "c", 21) == (503, "queue_full")
        assert refusal(bounded, "c", 20) is None
        assert repr(bounded) == "<Bounded: 80 of 100 bytes, 2 clients>"
    assert refusal(bounded, "a", 50) is None


def test_whoever_is_done_or_refused_leaves_nothing() -> None:
    bounded = Bounded(100, 50, "bytes")
    with pytest.raises(ZeroDivisionError), bounded.held("a", 7):
        _ = 1 / 0
    assert refusal(bounded, "b", 51) == (429, "over_share")
    assert repr(bounded) == "<Bounded: 0 of 100 bytes, 0 clients>"
