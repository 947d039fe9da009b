"""Cross-origin requests (Fetch standard): localhost on any port, and the origins that the settings name."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOCALHOST = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
METHODS = "GET, POST, OPTIONS"
HEADERS = "Content-Type, Accept"
MAX_AGE_S = "600"


def middleware(origins: tuple[str, ...]) -> Middleware:
    """Adds the headers to every answer, errors too, and answers preflights. Never with credentials."""

    def allowed(origin: str) -> bool:
        return "*" in origins or origin in origins or LOCALHOST.fullmatch(origin) is not None

    def headers(origin: str) -> dict[str, str]:
        if "*" in origins:
            return {"Access-Control-Allow-Origin": "*"}
        vary = {"Vary": "Origin"}
        return {"Access-Control-Allow-Origin": origin, **vary} if origin and allowed(origin) else vary

    @web.middleware
    async def add(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            preflight = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": HEADERS}
            allowance = {**preflight, "Access-Control-Max-Age": MAX_AGE_S} if allowed(origin) else {}
            return web.Response(status=204, headers={**headers(origin), **allowance})
        response = await handler(request)
        response.headers.update(headers(origin))
        return response

    return add
