"""Cross-origin requests (Fetch standard): localhost on any port, and the origins that the settings name."""

import re
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from .errors import ApiProblem
from .parsing import NAMED_MAX

LOCALHOST = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
HEADERS = "Content-Type, Accept, Authorization, X-Request-Id, Traceparent"
EXPOSED = {"Access-Control-Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"}
MAX_AGE_S = "600"


def check_origin(request: web.Request, origins: tuple[str, ...]) -> None:
    """Whether a page may open a WebSocket here, for which browsers ask nobody: it says where it comes from, and that is
    all (RFC 6455, 10.2). What has no origin is no page. Raises ApiProblem 403."""
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}" and not _is_allowed(origin, origins):
        raise ApiProblem(403, "forbidden", f"Pages of {origin[:NAMED_MAX]!r} may not connect; see cors_origins")


def _is_allowed(origin: str, origins: tuple[str, ...]) -> bool:
    return "*" in origins or origin in origins or LOCALHOST.fullmatch(origin) is not None


def _methods(request: web.Request) -> str:
    """Those of the routes of its path; none where there is no such path."""
    wrong = request.match_info.http_exception  # no route is for OPTIONS
    return ", ".join(sorted(wrong.allowed_methods)) if isinstance(wrong, web.HTTPMethodNotAllowed) else ""


def middleware(app: web.Application, origins: tuple[str, ...], token_headers: Iterable[str] = ()) -> Middleware:
    """Adds the headers to every answer of `app`, errors and streams too, and answers preflights. Never credentials: a
    token is a header that the page sends itself, `token_headers` names more of those."""
    accepted = ", ".join([HEADERS, *sorted({*token_headers} - {*HEADERS.split(", ")})])

    def headers(origin: str) -> dict[str, str]:
        if "*" in origins:
            return {"Access-Control-Allow-Origin": "*", **EXPOSED}
        return {"Access-Control-Allow-Origin": origin, **EXPOSED} if origin and _is_allowed(origin, origins) else {}

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            preflight = {"Access-Control-Allow-Methods": _methods(request), "Access-Control-Allow-Headers": accepted}
            allowance = {**preflight, "Access-Control-Max-Age": MAX_AGE_S} if _is_allowed(origin, origins) else {}
            return web.Response(status=204, headers=allowance)
        return await handler(request)

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers(request.headers.get("Origin", "")))
        if "*" not in origins:
            response.headers["Vary"] = ", ".join([*response.headers.getall("Vary", []), "Origin"])

    app.on_response_prepare.append(on_prepare)
    return answer
