"""Who asks: the owner of the request's token, else the address that it comes from, which a trusted proxy may tell."""

import dataclasses
import functools
import ipaddress
import itertools
import re
from collections.abc import Iterable, Iterator

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from daemon.addresses import is_loopback, parsed

from .tokens import Token

FORWARDED = (hdrs.X_FORWARDED_FOR, hdrs.FORWARDED)
UNIX = "unix"  # in place of an address: of a peer on a unix socket, and in `trusted_proxies`
HOPS_MAX = 32
ADDRESSES_KEPT = 4096
PORT, V4, V6 = r"(?::[0-9]{1,5})?", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,45}"
HOST = re.compile(rf"({V4}){PORT}|\[({V6})\]{PORT}|({V6})")
PAIR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|\"[^\"\\,]*\")"
IS_ELEMENT = re.compile(rf"{PAIR}(?:;{PAIR})*;?")
FOR = re.compile(r"(?:^|;)for=\"?([^\";]*)\"?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Whose share a request is counted to: `name` is "token ID", or "address" and what `counted` says of it.

    `token` is None where the request has none; `is_local` tells then whether it comes from this host.
    """

    name: str
    token: Token | None = None
    is_local: bool = False


CLIENT = web.RequestKey("client", Client)


class Addresses:
    """Tells from which address a request comes.

    `trusted` lists the networks of proxies whose word is taken for who their client is ("unix": whoever reaches a unix
    socket). Of the chain that a proxy tells, the right-most address counts that is not itself a trusted proxy's: what
    stands left of it was written by the client, who may write anything.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        named = tuple(trusted)
        self._networks = tuple(ipaddress.ip_network(one) for one in named if one != UNIX)
        self._trusts_unix = UNIX in named
        self._trusts = functools.lru_cache(ADDRESSES_KEPT)(self._looks_trusted)

    def is_told(self, peername: object, headers: CIMultiDictProxy[str]) -> bool:
        """Whether a trusted proxy tells who its client is: some of what it says the client may have written."""
        return any(name in headers for name in FORWARDED) and self._trusts(_peer(peername))

    def of_connection(self, peername: object) -> tuple[str, bool]:
        """The other end's address as `counted` says it, and whether it stands for many clients.

        It does where it is a trusted proxy, a unix socket or loopback: the host's own programs, tunnels and proxies.
        """
        peer = _peer(peername)
        return counted(peer), is_local(peer) or self._trusts(peer)

    def of(self, peername: object, headers: CIMultiDictProxy[str]) -> str:
        """As `counted` says it. `peername` is the transport's: a tuple for internet sockets, and for no others."""
        peer = _peer(peername)
        if not self._trusts(peer):
            return counted(peer)
        told = {
            self._nearest(peer, hops(fields))
            for name, hops in zip(FORWARDED, (_hops, _forwarded_hops), strict=True)
            if (fields := headers.getall(name, None)) is not None
        }
        # A proxy writes one of the two headers, and may pass on the other as the client wrote it.
        return counted(told.pop() if len(told) == 1 else peer)

    def _nearest(self, peer: str, hops: Iterator[str | None]) -> str:
        nearest = peer
        for hop in itertools.islice(hops, HOPS_MAX):
            if hop is None:  # no address: of what stands left of it nobody says who wrote it
                break
            nearest = hop
            if not self._trusts(hop):
                break
        return nearest

    def _looks_trusted(self, address: str) -> bool:
        if address == UNIX:
            return self._trusts_unix
        found = parsed(address)
        return found is not None and any(found in network for network in self._networks)


@functools.lru_cache(ADDRESSES_KEPT)
def counted(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of an IPv6 address (one customer has at least that).
    A loopback address and any other text stay as they are."""
    found = parsed(address)
    if isinstance(found, ipaddress.IPv6Address) and not found.is_loopback:
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address if found is None else str(found)


def _peer(peername: object) -> str:
    return str(peername[0]) if isinstance(peername, tuple) else UNIX


@functools.lru_cache(ADDRESSES_KEPT)
def is_local(address: str) -> bool:
    """Whether this is a unix socket's or a loopback address."""
    return address == UNIX or is_loopback(address)


def _hops(fields: list[str]) -> Iterator[str | None]:
    """Of X-Forwarded-For, the last first; None for what is no address."""
    for field in reversed(fields):
        for piece in reversed(field.split(",")):
            yield _host(piece.strip(" \t"))


def _forwarded_hops(fields: list[str]) -> Iterator[str | None]:
    """Of Forwarded (RFC 7239), the last first; None for "unknown", for a name, and for what breaks the syntax.

    Each proxy appends a comma and an element without one, so commas separate elements also where the client opened a
    quotation that it did not close.
    """
    for field in reversed(fields):
        for piece in reversed(field.split(",")):
            element = piece.strip(" \t")
            found = FOR.findall(element) if IS_ELEMENT.fullmatch(element) else ()
            yield _host(found[0]) if len(found) == 1 else None


def _host(text: str) -> str | None:
    """The address of "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT" in its usual form."""
    match = HOST.fullmatch(text)
    found = None if match is None else parsed(match[match.lastindex or 0])
    return None if found is None else str(found)
