"""Who the client is: headers are believed from trusted proxies alone, and only the part that the proxy wrote."""

import asyncio
import pathlib

import pytest
from aiohttp import ClientSession, UnixConnector, web
from multidict import CIMultiDict, CIMultiDictProxy

from daemon import settings
from daemon.api.client import Addresses, counted, is_local

PROXY, OTHER_PROXY, STRANGER = "10.0.0.1", "10.0.0.2", "192.0.2.9"


def of(peer: str, *headers: tuple[str, str], trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> str:
    return Addresses(trusted).of((peer, 1234), CIMultiDictProxy(CIMultiDict(headers)))


def via(*fields: str) -> str:
    return of(PROXY, *(("X-Forwarded-For", field) for field in fields))


def forwarded(*fields: str) -> str:
    return of(PROXY, *(("Forwarded", field) for field in fields))


def test_a_stranger_is_who_he_is_whatever_he_says() -> None:
    assert of(STRANGER, ("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1")) == STRANGER
    assert of(PROXY, ("X-Forwarded-For", "198.51.100.1"), trusted=()) == PROXY


def test_the_right_most_address_that_is_no_proxys_is_the_client() -> None:
    assert via("198.51.100.1") == "198.51.100.1"
    assert via("203.0.113.66, 198.51.100.1") == "198.51.100.1"
    assert via(f"203.0.113.66, 198.51.100.1,{OTHER_PROXY}") == "198.51.100.1"
    assert via("203.0.113.66", f"198.51.100.1, {OTHER_PROXY}") == "198.51.100.1", "several fields are one list"


def test_a_chain_of_proxies_alone_is_its_first() -> None:
    assert via(f"10.9.9.9, {OTHER_PROXY}") == "10.9.9.9"


@pytest.mark.parametrize(
    "odd",
    ["unknown", "", "_hidden", "example.org", "198.51.100.1.5", "999.1.1.1", "1", "0x7f.1", "[::1", "::1]", "127.1",
     "198.51.100.1:99999999", "198.51.100.1 203.0.113.1", "1.2.3.4/8", "\N{ARABIC-INDIC DIGIT ONE}.2.3.4", "a" * 5000],
)  # fmt: skip
def test_left_of_what_is_no_address_nothing_is_believed(odd: str) -> None:
    assert via(f"203.0.113.66, {odd}") == PROXY
    assert via(f"203.0.113.66, {odd}, {OTHER_PROXY}") == OTHER_PROXY
    assert via(f"{odd}, 198.51.100.1") == "198.51.100.1"


@pytest.mark.parametrize(
    ("told", "client"),
    [("198.51.100.1:4711", "198.51.100.1"), ("[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
     ("[2001:db8:1:2:3::4]", "2001:db8:1:2::/64"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
     ("::ffff:198.51.100.1", "198.51.100.1"), ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
     ("127.0.0.1", "127.0.0.1"), ("::1", "::1")],
)  # fmt: skip
def test_ports_brackets_and_mapped_addresses_are_understood(told: str, client: str) -> None:
    assert via(told) == client
    assert forwarded(f'for="{told}"') == client


def test_forwarded_is_understood_as_well() -> None:
    assert forwarded("for=198.51.100.1;proto=https;by=10.0.0.1") == "198.51.100.1"
    assert forwarded('For="[2001:db8::17]:4711", for=198.51.100.1') == "198.51.100.1"
    assert forwarded("for=203.0.113.66", f"proto=http;for=198.51.100.1, for={OTHER_PROXY}") == "198.51.100.1"


@pytest.mark.parametrize(
    "field",
    ['for=203.0.113.66;by="', 'for="203.0.113.66', "for=203.0.113.66;x=", 'for="a\\"b', 'x="for=203.0.113.66', "="],
)
def test_what_the_client_left_open_swallows_nothing_of_the_proxys(field: str) -> None:
    assert forwarded(f'{field}, for="[2001:db8::17]"') == "2001:db8::/64"
    assert forwarded(f"{field}, for=198.51.100.1") == "198.51.100.1"
    assert forwarded(field) == PROXY


@pytest.mark.parametrize("field", ["for=198.51.100.1;for=203.0.113.66", "by=203.0.113.66", "for=unknown", "for=_a", ""])
def test_an_element_without_one_address_is_the_proxys_own(field: str) -> None:
    assert forwarded(field) == PROXY


def test_where_both_headers_are_there_they_must_agree() -> None:
    """A proxy writes one of them and passes on the other as the client wrote it."""
    assert of(PROXY, ("X-Forwarded-For", "203.0.113.66"), ("Forwarded", "for=198.51.100.1")) == PROXY
    assert of(PROXY, ("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1")) == "198.51.100.1"


def test_a_long_chain_is_not_read_to_its_end() -> None:
    assert via("198.51.100.1," + ",".join([OTHER_PROXY] * 1000)) == OTHER_PROXY


def test_addresses_of_one_customer_are_one_client() -> None:
    assert counted("2001:db8:0:1::1") == counted("2001:db8:0:1:ffff::2") != counted("2001:db8:0:2::1")
    assert of("fe80::1%eth0") == "fe80::/64"
    assert [is_local(of(one)) for one in ("::1", "127.9.9.9", "::2", "10.0.0.1")] == [True, True, False, False]
    assert of("::ffff:10.0.0.1", ("X-Forwarded-For", "198.51.100.1")) == "198.51.100.1", "a mapped proxy is that proxy"


@pytest.mark.parametrize(("trusted", "client"), [((), "unix"), (("unix",), "198.51.100.1")])
async def test_a_unix_socket_is_local_and_may_be_trusted(
    tmp_path: pathlib.Path, trusted: tuple[str, ...], client: str
) -> None:
    addresses = Addresses(trusted)
    seen = asyncio.get_running_loop().create_future()

    async def handle(request: web.Request) -> web.Response:
        seen.set_result(addresses.of(request.get_extra_info("peername"), request.headers))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, path := str(tmp_path / "socket")).start()
    async with ClientSession(connector=UnixConnector(path)) as session:
        await session.get("http://x/", headers={"X-Forwarded-For": "198.51.100.1"})
    await runner.cleanup()
    assert await seen == client


def test_a_network_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    monkeypatch.setenv("CELLBLOCK_TRUSTED_PROXIES", '["unix", "10.0.0.1/8"]')
    with pytest.raises(settings.BadSettings, match=r"10\.0\.0\.1/8 has host bits set"):
        settings.load()
