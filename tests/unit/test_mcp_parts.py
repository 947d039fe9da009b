"""What the gate of MCP holds for clients is bounded; a server that is no cellblock. tests/clients/test_mcp.py asks real
servers."""

import contextlib
from typing import Any

import pytest
from cellblock_client import AsyncClient
from mcp import MCPError

from daemon.mcp_server.gate import Bounded, Refused
from daemon.mcp_server.server import Tools


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


@pytest.mark.parametrize(
    "document", [{}, [], None, {"paths": {"/execute": {"post": {}}}, "components": {"schemas": {}}}]
)
async def test_what_is_no_document_of_ours_is_told_as_such(document: Any) -> None:
    class Other(AsyncClient):
        async def call(self, method: str, path: str, body: object = None) -> Any:
            return document

    async with Other("http://127.0.0.1:1") as other:
        with pytest.raises(MCPError, match="no cellblock server"):
            await Tools(lambda _: other).list(None, None)  # type: ignore[arg-type]
