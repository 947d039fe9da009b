"""By which name a server on loopback is asked: what reaches it under another one may be a page of somebody else's.

A browser lets a page talk with its own host alone. A page whose name is changed to 127.0.0.1 while it is open (DNS
rebinding) has this server for its own host, and could run programs. Its requests have the page's name in Host, so the
name is checked (RFC 9110, 7.4: 421) where a connection came to a loopback address. A unix socket is not reached so, and
beyond loopback there are tokens, which no page has.
"""

import functools
import re

from aiohttp import hdrs, web

from daemon import addresses

from .client import is_local
from .errors import ApiProblem
from .parsing import NAMED_MAX

HOST = re.compile(rf"({addresses.HOST_NAME})(?::[0-9]*)?")
LOOPBACK = re.compile(r"(?:.+\.)?localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")  # nobody has *.localhost (RFC 6761)
ANY = "*"
KEPT = 256


class Hosts:
    """Names of loopback are known, with any port, and those that are `allowed`, in lower case and without a port."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = frozenset(allowed)
        self._knows = functools.lru_cache(KEPT)(self._looks_known)

    def check(self, request: web.Request) -> None:
        """Raises ApiProblem 421. No Host is none of ours."""
        host = request.headers.get(hdrs.HOST, "")
        if self._knows(host):
            return
        address = request.get_extra_info("sockname")  # a tuple of internet sockets, and of no others
        if isinstance(address, tuple) and is_local(str(address[0])):
            detail = f"This server is not known as {host[:NAMED_MAX]!r}; the setting allowed_hosts names others"
            raise ApiProblem(421, "wrong_host", detail)

    def _looks_known(self, host: str) -> bool:
        found = HOST.fullmatch(host)
        name = "" if found is None else found[1].removesuffix(".").lower()
        return ANY in self._allowed or name in self._allowed or LOOPBACK.fullmatch(name) is not None
