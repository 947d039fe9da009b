"""An endpoint beyond the base contract: what the router, the access rules and the errors need to know of it."""

import dataclasses
from collections.abc import Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from .errors import ApiProblem
from .tokens import Scope

Tell = Callable[[ApiProblem], web.Response]


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` as aiohttp writes it. What `handle` raises is answered as `tell` says it.

    `scope` is what a token must be for, None where any will do. `token_headers` may have a token besides
    "Authorization: Bearer", each with nothing before it: clients of other servers send theirs so.
    """

    method: str
    path: str
    handle: Handler
    tell: Tell
    scope: Scope | None = Scope.RUN
    token_headers: tuple[str, ...] = ()


class Endpoints:
    """Some, by method and path."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._all = {(one.method, one.path): one for one in endpoints}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        for one in self._all.values():
            router.add_route(one.method, one.path, one.handle)

    def find(self, method: str, path: str) -> Endpoint | None:
        """`path` is a template; HEAD is as GET. None: it is of the base contract, or there is none."""
        return self._all.get(("GET" if method == "HEAD" else method, path))

    @property
    def token_headers(self) -> set[str]:
        """Of all of them."""
        return {name for one in self._all.values() for name in one.token_headers}
