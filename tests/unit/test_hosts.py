"""On loopback a request is for a name of loopback, or for one that the deployment names; elsewhere for any."""

import asyncio
import pathlib
import socket

import pytest
from aiohttp import ClientSession, UnixConnector, web

from daemon import settings
from daemon.api import errors
from daemon.api.hosts import Hosts

PAGE = "rebound.example"


class Asked:
    """A server that checks the name and nothing else."""

    def __init__(self, *allowed: str) -> None:
        self.hosts = Hosts(allowed)

    async def statuses(self, address: str, *heads: str, version: str = "1.1") -> list[int]:
        """Of a request to a server at this address with each of these header fields Host, "" for none."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 0), family=family) as listener:
            runner = await self._runner()
            await web.SockSite(runner, listener).start()
            found = [await _status(address, listener.getsockname()[1], version, head) for head in heads]
            await runner.cleanup()
        return found

    async def status_by_path(self, path: str, host: str) -> int:
        runner = await self._runner()
        await web.UnixSite(runner, path).start()
        async with ClientSession(connector=UnixConnector(path)) as session, session.get(f"http://{host}/") as answer:
            status = answer.status
        await runner.cleanup()
        return status

    async def _runner(self) -> web.AppRunner:
        async def answer(request: web.Request) -> web.Response:
            try:
                self.hosts.check(request)
            except errors.ApiProblem as problem:
                return errors.response(problem)
            return web.Response()

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        return runner


async def _status(address: str, port: int, version: str, head: str) -> int:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(f"GET / HTTP/{version}\r\n{head}Connection: close\r\n\r\n".encode("latin-1"))
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def host(name: str) -> str:
    return f"Host: {name}\r\n"


@pytest.mark.parametrize(
    "name",
    ["localhost", "localhost:8000", "LocalHost:1", "localhost.", "localhost.:80", "judge.localhost:8000", "127.0.0.1",
     "127.0.0.1:8000", "127.9.9.9:1", "[::1]", "[::1]:8000", "localhost:"],
)  # fmt: skip
async def test_names_of_loopback_are_known_with_any_port(name: str) -> None:
    assert await Asked().statuses("127.0.0.1", host(name)) == [200]


@pytest.mark.parametrize(
    "name",
    [PAGE, f"{PAGE}:8000", "localhost.example", "notlocalhost", "127.0.0.1.example", "127.0.0.1@x", "10.0.0.1", "[::2]",
     "::1", "localhost:80:80", "localhost example", "localhost,x", "", "\xe9", "x" * 5000],
)  # fmt: skip
async def test_any_other_name_is_misdirected_on_loopback(name: str) -> None:
    assert await Asked().statuses("127.0.0.1", host(name)) == [421]
    assert await Asked().statuses("::1", host(name)) == [421]


async def test_no_name_at_all_is_misdirected_in_http_1_0() -> None:
    """In 1.1 it is no request (RFC 9112, 3.2), and two are none."""
    assert await Asked().statuses("127.0.0.1", "", version="1.0") == [421]
    assert await Asked("*").statuses("127.0.0.1", "", version="1.0") == [200]
    assert await Asked("*").statuses("127.0.0.1", "", host("localhost") + host(PAGE)) == [400, 400]


async def test_names_that_the_deployment_allows_are_known() -> None:
    named = Asked("judge.example.org", "[fd00::1]")
    known = [host(name) for name in ("Judge.example.org:443", "[FD00::1]", "localhost")]
    assert await named.statuses("127.0.0.1", *known, host(PAGE)) == [200, 200, 200, 421]
    assert await Asked("*").statuses("127.0.0.1", host(PAGE)) == [200]


async def test_beyond_loopback_and_on_a_unix_socket_any_name_will_do(tmp_path: pathlib.Path) -> None:
    assert await Asked().status_by_path(str(tmp_path / "socket"), PAGE) == 200
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # a datagram socket sends nothing for that, and tells this host's address
        own = probe.getsockname()[0]
    assert not own.startswith("127."), "this host has no other address than loopback's"
    assert await Asked().statuses(own, host(PAGE)) == [200]


@pytest.mark.parametrize("name", ["judge.example.org:443", "http://judge", "a b", "", "[::1]:80"])
def test_a_name_that_is_none_stops_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    with pytest.raises(settings.BadSettings, match="allowed_hosts"):
        settings.load(allowed_hosts=(name,))


def test_a_name_is_compared_in_lower_case_and_without_the_roots_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    assert settings.load(allowed_hosts=("Judge.Example.org.", "*")).allowed_hosts == ("judge.example.org", "*")
