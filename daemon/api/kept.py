"""Answers that are made once and kept as bytes: a client that has one already is told so (RFC 9110, 13.1.2)."""

import dataclasses
import hashlib

from aiohttp import hdrs, web

CACHE = "no-cache"  # a browser keeps it, and asks each time whether it has changed
ALWAYS = (hdrs.ETAG, hdrs.CACHE_CONTROL, hdrs.VARY)  # what a 304 has of them (RFC 9110, 15.4.5)


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A body with its headers."""

    body: bytes
    headers: dict[str, str]

    def answer(self, request: web.Request) -> web.Response:
        """It, or 304 to whom has it."""
        etag = self.headers[hdrs.ETAG].strip('"')
        if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
            told = {name: self.headers[name] for name in ALWAYS if name in self.headers}
            return web.Response(status=304, headers=told)
        return web.Response(body=self.body, headers=self.headers)


def kept(body: bytes, content_type: str, policy: str = "default-src 'none'", **headers: str) -> Kept:
    """`policy` is its Content-Security-Policy."""
    return Kept(
        body,
        {
            hdrs.CONTENT_TYPE: content_type,
            hdrs.ETAG: f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            hdrs.CACHE_CONTROL: CACHE,
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            **headers,
        },
    )
