"""Who may do what, and how often: the middleware that every request passes before anything of it is read.

Where there is a file of tokens, each endpoint but OPEN needs one, and SCOPES says what it must be for; one that is not
listed there needs WATCH. A request counts to its token's client, or to its address where it has none.
"""

import datetime
import math

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from daemon.settings import Settings

from . import errors
from . import note as notes
from .client import CLIENT, Addresses, Client, is_local
from .endpoint import Endpoint, Endpoints
from .errors import ApiProblem
from .hosts import Hosts
from .rate import Rates
from .tokens import Scope, Token, Tokens

REALM = 'Bearer realm="cellblock"'
OPEN = {
    "/", "/playground/{file}", "/health", "/health/live", "/health/ready", "/docs", "/openapi.json",
    "/metrics",  # it checks itself
}  # fmt: skip
ERRORS = ("token_required", "invalid_token", "insufficient_scope", "rate_limited")  # of every other endpoint
SCOPES: dict[tuple[str, str], Scope | None] = {
    ("POST", "/execute"): Scope.RUN,
    ("POST", "/grade"): Scope.GRADE,
    ("POST", "/problems/{id}/grade"): Scope.GRADE,
    ("GET", "/problems"): Scope.PROBLEMS,
    ("GET", "/problems/{id}"): Scope.PROBLEMS,
    ("PUT", "/problems/{id}"): Scope.PROBLEMS,
    ("DELETE", "/problems/{id}"): Scope.PROBLEMS,
    ("GET", "/languages"): None,  # any token
}
FIELDS = web.RequestKey("rate_limit_fields", dict[str, str])


class Access:
    """`tokens` None: none is needed, and none is looked at."""

    def __init__(self, settings: Settings, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self._hosts = Hosts(settings.allowed_hosts)
        self._addresses, self._rates = Addresses(settings.trusted_proxies), Rates()
        self._processes = settings.http_processes
        self._of_address = settings.requests_per_minute_of_address
        self._of_token = settings.requests_per_minute_of_token

    def middleware(self, app: web.Application, others: Endpoints) -> Middleware:
        """Finds the client, which handlers have as `request[CLIENT]`; answers 401, 403, 421 and 429, to one of the
        `others` in its own words. While `app` lives the file of tokens is watched."""

        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            path = notes.of(request).path
            other = others.find(request.method, path)
            if other is not None:
                request[errors.TELL] = other.tell
            self._hosts.check(request)
            if path in OPEN:
                request[CLIENT] = self._known(request)
            else:
                self._admit(request, path, other)
            return await handler(request)

        async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
            if FIELDS in request:
                response.headers.update(request[FIELDS])

        app.on_response_prepare.append(on_prepare)
        if self._tokens is not None:
            app.cleanup_ctx.append(self._tokens.watched)
        return admit

    def named(self, name: str) -> Client:
        """Whoever was called so (Client.name) when they asked, for what is done for them later. A token that is gone or
        has expired since is as none."""
        kind, _, text = name.partition(" ")
        token = self._tokens.named(text) if kind == "token" and self._tokens is not None else None
        return Client(name, token)

    @property
    def has_stale_tokens(self) -> bool:
        """The file of tokens is wrong or away, and those are valid that it had before."""
        return self._tokens is not None and self._tokens.wrong is not None

    def may_watch(self, client: Client) -> bool:
        """Whether this client is told how the service is."""
        return self._tokens is None or watches(client)

    def _known(self, request: web.Request) -> Client:
        """Whoever may ask without a token: one that is no good is as good as none."""
        try:
            return self._client(request)
        except ApiProblem:
            return self._without_token(request)

    def _admit(self, request: web.Request, path: str, other: Endpoint | None) -> None:
        """The request knows its client even where this raises: ApiProblem 401, 403, 429. A path that is
        UNMATCHED is none of ours, which the router tells."""
        try:
            client = request[CLIENT] = self._client(request, () if other is None else other.token_headers)
        except ApiProblem:
            request[CLIENT] = self._without_token(request)
            self._count(request, request[CLIENT])
            raise
        self._count(request, client)
        if client.token is not None and path != notes.UNMATCHED:
            scope = scope_of(request.method, path) if other is None else other.scope
            _check_scope(client.token, scope, f"{request.method} {path}")

    def _without_token(self, request: web.Request) -> Client:
        peername = request.get_extra_info("peername", ("gone",))
        address = self._addresses.of(peername, request.headers)
        is_told = self._addresses.is_told(peername, request.headers)  # by a proxy, so that it may be anybody
        return Client(f"address {address}", is_local=is_local(address) and not is_told)

    def _client(self, request: web.Request, token_headers: tuple[str, ...] = ()) -> Client:
        """Raises ApiProblem 401."""
        if self._tokens is None:
            return self._without_token(request)
        given = [value for name in token_headers for value in request.headers.getall(name, [])]
        bare = [value if " " in value else f"Bearer {value}" for value in given]
        token = _token(self._tokens, bare or request.headers.getall(hdrs.AUTHORIZATION, []))
        return Client(f"token {token.id}", token)

    def _count(self, request: web.Request, client: Client) -> None:
        """Raises ApiProblem 429. Each HTTP process counts what it gets, against its part of the limit."""
        policy, per_minute = "address", self._of_address
        if client.token is not None:
            own = client.token.requests_per_minute
            policy, per_minute = "token", self._of_token if own is None else own
        if not per_minute or client.is_local:
            return
        standing = self._rates.count(client.name, max(1, per_minute // self._processes))
        request[FIELDS] = standing.fields(policy)
        if standing.wait_s is not None:
            wait_s = math.ceil(standing.wait_s)
            detail = f"More than {standing.quota} requests in a minute; try again in {wait_s} s"
            raise ApiProblem(429, "rate_limited", detail, retry_after_s=wait_s)


def watches(client: Client) -> bool:
    """Its token is for watching."""
    return client.token is not None and Scope.WATCH in client.token.scopes


def scope_of(method: str, path: str) -> Scope | None:
    """What a token must be for; None: any token will do. Of an endpoint that is not in OPEN."""
    return SCOPES.get(("GET" if method == "HEAD" else method, path), Scope.WATCH)


def _token(tokens: Tokens, given: list[str]) -> Token:
    """Raises ApiProblem 401, with the challenges of RFC 6750, section 3."""
    if not given:
        raise ApiProblem(401, "token_required", "This needs a token: Authorization: Bearer cb_…", challenge=REALM)
    scheme, _, text = given[0].partition(" ")
    token = tokens.find(text.strip(" ")) if len(given) == 1 and scheme.lower() == "bearer" else None
    if token is None or token.is_expired(datetime.datetime.now(datetime.UTC)):
        detail = "There is no such token" if token is None else "The token has expired"
        challenge = f'{REALM}, error="invalid_token", error_description="{detail}"'
        raise ApiProblem(401, "invalid_token", detail, challenge=challenge)
    return token


def _check_scope(token: Token, scope: Scope | None, endpoint: str) -> None:
    """Raises ApiProblem 403."""
    if scope is not None and scope not in token.scopes:
        detail = f"This token is not for {endpoint}: it lacks the scope {scope}"
        challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'
        raise ApiProblem(403, "insufficient_scope", detail, challenge=challenge)
