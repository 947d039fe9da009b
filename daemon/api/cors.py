"""Cross-origin requests (Fetch standard): localhost on any port, and the origins that the settings name."""

import re
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOCALHOST = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
METHODS = "GET, POST, OPTIONS"
HEADERS = "Content-Type, Accept, Authorization, X-Request-Id, Traceparent"
EXPOSED = {"Access-Control-Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"}
MAX_AGE_S = "600"


def middleware(app: web.Application, origins: tuple[str, ...], token_headers: Iterable[str] = ()) -> Middleware:
    """Adds the headers to every answer of `app`, errors and streams too, and answers preflights. Never credentials: a
    token is a header that the page sends itself, `token_headers` names more of those."""
    accepted = ", ".join([HEADERS, *sorted(token_headers)])

    def allowed(origin: str) -> bool:
        return "*" in origins or origin in origins or LOCALHOST.fullmatch(origin) is not None

    def headers(origin: str) -> dict[str, str]:
        if "*" in origins:
            return {"Access-Control-Allow-Origin": "*", **EXPOSED}
        vary = {"Vary": "Origin"}
        return {"Access-Control-Allow-Origin": origin, **EXPOSED, **vary} if origin and allowed(origin) else vary

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            preflight = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": accepted}
            allowance = {**preflight, "Access-Control-Max-Age": MAX_AGE_S} if allowed(origin) else {}
            return web.Response(status=204, headers=allowance)
        return await handler(request)

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers(request.headers.get("Origin", "")))

    app.on_response_prepare.append(on_prepare)
    return answer
