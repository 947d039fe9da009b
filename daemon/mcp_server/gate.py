"""What an HTTP request passes before anything of MCP is done: method, token, room for its body. An ASGI application.

The token is the API's, and the API says whether it is good. What is held for clients is bounded: requests and bytes, of
one client and of all; a body has a deadline. Each request stands alone (no sessions), so nothing stays after it.
"""

import asyncio
import collections
import contextlib
import ipaddress
import json
from collections.abc import Iterator

from cellblock_client import ApiError, AsyncClient, ClientError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .doorway import Doorway, Unanswered

PATH = "/mcp"
REQUESTS_MAX, REQUESTS_OF_ONE_MAX = 256, 32  # of MCP; how many programs run is the API's to say
ROOM_BYTES = 128 << 20  # of all bodies
BODY_BYTES_MAX = 24 << 20  # as `body_bytes_max` of the API is by default; the API has the last word
BODY_S = 30.0
CHECK_S = 10.0  # for the API to say whether a token is good
RETRY_AFTER_S = 1


class Refused(Exception):
    """An answer that is no 2xx, as the API gives it."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.retry_after_s = status, code, detail, retry_after_s


class Bounded:
    """So many of something, of all clients and of one."""

    def __init__(self, most: int, most_of_one: int, what: str) -> None:
        self._most, self._most_of_one, self._what = most, most_of_one, what
        self._held: collections.Counter[str] = collections.Counter()

    def __repr__(self) -> str:
        return f"<Bounded: {self._held.total()} of {self._most} {self._what}, {len(self._held)} clients>"

    @contextlib.contextmanager
    def held(self, client: str, count: int) -> Iterator[None]:
        """`count` of them. Raises Refused: 429 where the client has its share, 503 where there are no more."""
        if self._held[client] + count > self._most_of_one:
            raise Refused(429, "over_share", f"You have as many {self._what} here as one client may", RETRY_AFTER_S)
        if self._held.total() + count > self._most:
            raise Refused(503, "queue_full", f"Too many {self._what} at once; try again", RETRY_AFTER_S)
        self._held[client] += count
        try:
            yield
        finally:
            self._held[client] -= count
            self._held = +self._held  # without those that hold nothing


class Gate:
    """Before `inner`, which gets nothing but a whole POST to PATH. `needs_token`: whoever has none is refused here."""

    def __init__(self, inner: ASGIApp, api: AsyncClient, needs_token: bool) -> None:
        self._inner, self._api, self._needs_token = inner, api, needs_token
        self._doorway = Doorway(api)
        self._requests = Bounded(REQUESTS_MAX, REQUESTS_OF_ONE_MAX, "requests")
        self._room = Bounded(ROOM_BYTES, ROOM_BYTES // 2, "bytes of bodies")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI call."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await self._admit(request, send)
        except Refused as refused:
            await _answer(refused)(scope, receive, send)

    async def _admit(self, request: Request, send: Send) -> None:
        """Raises Refused."""
        if request.url.path != PATH:
            raise Refused(404, "not_found", f"There is only {PATH}")
        if request.method != "POST":  # no stream without a request, no session to end: nothing would bound them
            raise Refused(405, "method_not_allowed", "Only POST")
        size = request.headers.get("content-length", "")
        if not (size.isascii() and size.isdigit()):
            raise Refused(411, "length_required", "The request needs a Content-Length")
        if int(size) > BODY_BYTES_MAX:
            raise Refused(413, "body_too_large", f"Request body too large (max {BODY_BYTES_MAX} bytes)")
        token = token_of(request)
        client = await self._client(request, token)
        with self._requests.held(client, 1):
            await self._check(token)
            with self._room.held(client, int(size)):
                body = await _body(request)
                await self._until_gone(request, body, send)

    async def _client(self, request: Request, token: str | None) -> str:
        """Whose share it is: a token's where the API has tokens, else an address's. Raises Refused."""
        try:
            is_known = token is not None and await self._doorway.wants_tokens()
        except Unanswered as error:
            raise _unavailable(error) from error
        return f"token {token}" if is_known else _address(request)

    async def _until_gone(self, request: Request, body: bytes, send: Send) -> None:
        """Lets `inner` answer; when the client is gone it is cancelled, and with it the program that it waits for."""
        gone = asyncio.create_task(_end_of(request.receive))
        answering = asyncio.ensure_future(self._inner(request.scope, _replay(body, gone), send))
        try:
            await asyncio.wait([gone, answering], return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_over = answering.done()
            gone.cancel()
            answering.cancel()
            await asyncio.wait([gone, answering])
        if is_over:
            answering.result()

    async def _check(self, token: str | None) -> None:
        """Any token that is good may ask for the languages. Raises Refused."""
        if token is None and self._needs_token:
            raise Refused(401, "token_required", "This needs a token: Authorization: Bearer cb_…")
        try:
            async with asyncio.timeout(CHECK_S):
                await self._api.with_token(token).languages()
        except ApiError as error:
            raise Refused(error.status, error.code, error.detail, error.retry_after_s) from error
        except (ClientError, TimeoutError) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> Refused:
    return Refused(503, "sandbox_unavailable", f"The API does not answer: {error}", RETRY_AFTER_S)


def _address(request: Request) -> str:
    """Where it comes from. This host is one, whichever of its loopback addresses (127.0.0.0/8) it chose."""
    host = request.client.host if request.client else None
    return "this host" if host is None or ipaddress.ip_address(host).is_loopback else f"address {host}"


def token_of(request: Request) -> str | None:
    """The bearer token, as it came; None where there is none that could be one."""
    given = request.headers.getlist("authorization")
    scheme, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    is_one = scheme.lower() == "bearer" and text.isascii() and text.isprintable() and text
    return text if is_one else None


async def _body(request: Request) -> bytes:
    """All of it. Raises Refused when it takes too long; the server bounds it by the Content-Length."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.body()
    except TimeoutError:
        raise Refused(408, "request_timeout", f"The body did not arrive within {BODY_S:g} s") from None


async def _end_of(receive: Receive) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes, gone: asyncio.Task[None]) -> Receive:
    """The body, and then that the client is gone, once it is."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.wait([gone])
        return {"type": "http.disconnect"}

    return receive


def _answer(refused: Refused) -> Response:
    details = {
        "type": f"urn:cellblock:problem:{refused.code}", "status": refused.status, "detail": refused.detail,
        "code": refused.code,
    }  # fmt: skip
    headers = {}
    if refused.retry_after_s is not None:
        headers["Retry-After"] = f"{refused.retry_after_s:g}"
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="cellblock"'
    if refused.status == 405:
        headers["Allow"] = "POST"
    return Response(json.dumps(details), refused.status, headers, "application/problem+json")
