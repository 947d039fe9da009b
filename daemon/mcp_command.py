"""`cellblock mcp`: the tools of a server for agents, by the Model Context Protocol."""

import asyncio
import pathlib
import signal

import click

from daemon.terminal import our_errors


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server; unix:/PATH is one, too.")
@click.option(
    "--token-file", type=click.Path(path_type=pathlib.Path), help="File with the bearer token for that server."
)
@click.option("--http", "port", type=click.IntRange(0, 65535), help="Serve by HTTP at 127.0.0.1:PORT/mcp instead.")
@click.option("--allowed-host", "hosts", multiple=True, help="With --http: a name besides localhost; repeatable.")
def mcp(url: str, token_file: pathlib.Path | None, port: int | None, hosts: tuple[str, ...]) -> None:
    """Serve the tools run_code, grade and languages by MCP, on standard input and output.

    All is asked of a cellblock server, which admits it as any other client's. By HTTP each client sends the token that
    it has for that server; docs/mcp.md tells how nginx goes before it.
    """
    with our_errors():
        if port is None and hosts:
            raise click.UsageError("--allowed-host is for --http")
        if port is not None and token_file is not None:
            raise click.UsageError("--token-file is not for --http, where each client sends its own")
        from cellblock_client import ClientError

        from daemon import remote

        try:
            from daemon.mcp_server import serving
        except ModuleNotFoundError as error:
            raise remote.NotServed(f"{error.name} is not installed: pip install 'cellblock[mcp]'") from error
        token = remote.token_of(token_file)
        try:
            if port is None:
                signal.signal(
                    signal.SIGINT, signal.SIG_DFL
                )  # a thread reads standard input, and Python would wait for it
                asyncio.run(serving.by_stdio(url, token))
            else:
                asyncio.run(serving.by_http(url, port, hosts))
        except serving.OpenToAll:
            raise remote.NotServed(f"{url} wants no token, so {', '.join(hosts)} would be open to everybody") from None
        except OSError as error:
            raise remote.NotServed(f"port {port}: {error.strerror}") from error
        except (ClientError, ValueError) as error:
            raise remote.NotServed(f"{url}: {error}") from error
