"""Serves MCP on standard input and output, or by HTTP on loopback, until it ends or is told to."""

import contextlib
import importlib.metadata
import socket

import uvicorn
from cellblock_client import AccessDenied, AsyncClient, Retries
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request

from . import gate, server
from .server import Context

RETRIES = Retries(attempts=2, wait_s_max=5.0)
CONNECTIONS_MAX = 512
HEAD_BYTES_MAX = 32 << 10
STOP_S = 60
HOST = "127.0.0.1"
LOCAL = (HOST, "localhost")


def _version() -> str:
    return importlib.metadata.version("cellblock")


async def by_stdio(url: str, token: str | None) -> None:
    """Until standard input ends. Raises ValueError for a URL that is none."""
    async with AsyncClient(url, token=token, retries=RETRIES) as api, stdio_server() as (read, write):
        found = server.of(lambda _: api, _version())
        await found.run(read, write, found.create_initialization_options())


async def by_http(url: str, port: int, hosts: tuple[str, ...]) -> None:
    """Until SIGTERM, on a port of loopback (0: a free one), which it prints. `hosts` are names besides localhost that
    it is asked for: then whoever asks needs a token.

    Raises ValueError for a URL that is none, ClientError where the API does not answer, OSError where the port is
    taken, and OpenToAll.
    """
    async with AsyncClient(url, retries=RETRIES) as api:
        if hosts and not await _wants_tokens(api):
            raise OpenToAll
        found = server.of(lambda context: api.with_token(_token_of(context)), _version())
        inner = found.streamable_http_app(
            stateless_http=True, max_request_body_size=gate.BODY_BYTES_MAX, transport_security=_security(hosts)
        )
        config = uvicorn.Config(
            gate.Gate(inner, api, bool(hosts)), lifespan="on", log_level="warning", access_log=False,
            server_header=False, proxy_headers=False, limit_concurrency=CONNECTIONS_MAX,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX, timeout_graceful_shutdown=STOP_S,
        )  # fmt: skip
        with (
            socket.create_server((HOST, port)) as listener,
            contextlib.suppress(KeyboardInterrupt),
        ):  # once it has ended
            print(f"cellblock mcp on http://{HOST}:{listener.getsockname()[1]}{gate.PATH}", flush=True)
            await uvicorn.Server(config).serve([listener])


class OpenToAll(Exception):
    """The API takes requests without a token, and others than this host would reach it."""


async def _wants_tokens(api: AsyncClient) -> bool:
    try:
        await api.languages()
    except AccessDenied:
        return True
    return False


def _token_of(context: Context) -> str | None:
    return gate.token_of(context.request) if isinstance(context.request, Request) else None


def _security(hosts: tuple[str, ...]) -> TransportSecuritySettings:
    """Of Host and Origin, against pages whose name is changed while they are open (DNS rebinding)."""
    names = [*LOCAL, "[::1]", *hosts]
    return TransportSecuritySettings(
        allowed_hosts=[name + port for name in names for port in ("", ":*")],
        allowed_origins=[
            f"{scheme}://{name}{port}" for scheme in ("http", "https") for name in names for port in ("", ":*")
        ],
    )
