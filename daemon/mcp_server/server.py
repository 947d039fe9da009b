"""The server of MCP: lists the tools, and calls them through a client of the API."""

import time
from collections.abc import Callable
from typing import Any

from cellblock_client import ApiError, AsyncClient, ClientError
from mcp import MCPError, types
from mcp.server import Server, ServerRequestContext

from . import tools

KEPT_S = 60.0  # so long the tools are told as they were: a server that is restarted may have other limits
INSTRUCTIONS = "Runs programs in single-use jails without network: nothing of a run is there for the next one."

Context = ServerRequestContext[Any, Any]
ClientOf = Callable[[Context], AsyncClient]


class Tools:
    """What is asked of one cellblock server. `client_of` gives the client of whoever asks."""

    def __init__(self, client_of: ClientOf) -> None:
        self._client_of = client_of
        self._kept: tuple[float, tuple[types.Tool, ...]] | None = None

    async def list(self, context: Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """The tools with this deployment's limits. Raises MCPError where the server cannot be asked."""
        now_s = time.monotonic()
        if self._kept is None or now_s - self._kept[0] > KEPT_S:
            try:
                document = await self._client_of(context).call("GET", "/openapi.json")
                self._kept = now_s, tools.of_document(document)
            except ClientError as error:
                raise MCPError(types.INTERNAL_ERROR, _told(error)) from error
            except (KeyError, TypeError) as error:
                raise MCPError(types.INTERNAL_ERROR, "What answers at the URL is no cellblock server") from error
        return types.ListToolsResult(tools=list(self._kept[1]))

    async def call(self, context: Context, wanted: types.CallToolRequestParams) -> types.CallToolResult:
        """What became of it. A refusal is a result, too, which the model reads. Cancelled, it ends the program.

        Raises MCPError for a tool that is not there.
        """
        one = tools.OPERATIONS.get(wanted.name)
        if one is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {wanted.name}")
        body = None if one.method == "GET" else wanted.arguments or {}
        try:
            return tools.result_of(one, await self._client_of(context).call(one.method, one.path, body))
        except ClientError as error:
            return tools.refused(_told(error))
        except ValueError as error:
            return tools.refused(f"invalid_request: {error}")


def _told(error: ClientError) -> str:
    """For whoever does not see that there is a server behind the tools."""
    if not isinstance(error, ApiError):
        return f"The cellblock server does not answer: {error}"
    again = "" if error.retry_after_s is None else f"; try again in {error.retry_after_s:g} s"
    return f"{error.code}: {error.detail}{again}"


def of(client_of: ClientOf, version: str) -> Server[Any]:
    """For any transport."""
    found = Tools(client_of)
    return Server(
        "cellblock", version=version, title="cellblock", instructions=INSTRUCTIONS, on_list_tools=found.list,
        on_call_tool=found.call,
    )  # fmt: skip
