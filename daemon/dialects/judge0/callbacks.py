"""Tells the `callback_url` of a submission what became of it: a PUT, tried a few times, to allowed hosts alone.

A host is allowed by its name or its address (`judge0_callback_hosts`). A name must lead to public addresses, or to ones
that are allowed themselves: whoever may change what a name means reaches nothing of this network by it. A redirect is
not followed, and nothing of the answer is read.
"""

import ipaddress
import json
import socket
from collections.abc import Iterable
from typing import Any

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from daemon.addresses import parsed

from .wanted import host_of

log = structlog.get_logger("cellblock.judge0")

TIMEOUT_S = 5.0
CONNECTIONS = 8


class Callbacks:
    """`hosts` are names and addresses; without any, callbacks are off."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    def refusal(self, url: str) -> str | None:
        """Why this URL cannot be told; None: it can."""
        if not self.hosts:
            return "setting callback is not allowed"
        host = host_of(url)
        if host is None:
            return "is not a URL of http or https"
        if _plain(host) not in self.hosts:
            return "is not on a host that this server may call; judge0_callback_hosts names those"
        return None

    def session(self) -> aiohttp.ClientSession:
        """For `tell`; the caller closes it."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, resolver=_Resolver(self.hosts), use_dns_cache=False)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def tell(self, session: aiohttp.ClientSession, url: str, fields: dict[str, object]) -> bool:
        """Whether somebody answered, whatever it was: Judge0 takes any answer."""
        if self.refusal(url) is not None:  # the settings may have changed since it was accepted
            return True
        try:
            async with session.put(
                url, data=json.dumps(fields), headers={"Content-Type": "application/json"}, allow_redirects=False
            ) as answer:  # fmt: skip
                answer.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("a callback was not answered", host=host_of(url), reason=type(error).__name__)
            return False
        return True


class _Resolver(AbstractResolver):
    """Names lead to addresses that are public or allowed."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed, self._resolver = allowed, ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError where none is left."""
        found = await self._resolver.resolve(host, port, family)
        kept = [one for one in found if _plain(one["host"]) in self._allowed or _is_public(one["host"])]
        if not kept:
            raise OSError(f"{host} has no address that may be called")
        return kept

    async def close(self) -> None:
        """Nothing is open."""
        await self._resolver.close()


def _plain(host: str) -> str:
    """An address in its usual form, a name in lower case."""
    address: Any = parsed(host)
    return host.lower() if address is None else str(address)


def _is_public(address: str) -> bool:
    found = parsed(address)
    return found is not None and found.is_global and not found.is_multicast and not _is_translated(found)


def _is_translated(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """An IPv6 address that carries one of IPv4 through a gateway (RFC 6052, RFC 3056): where it leads is not seen."""
    return isinstance(address, ipaddress.IPv6Address) and (
        address.sixtofour is not None or address.teredo is not None or address in ipaddress.ip_network("64:ff9b::/96")
    )
