"""What a body is sent as: its media type, and that it is not compressed."""

from aiohttp import hdrs, web

from .errors import ApiProblem


def check(request: web.Request, media_type: str) -> None:
    """Raises ApiProblem 415 for another media type, and for a coding (RFC 9110, 8.4) in any of the header's fields.

    aiohttp decompresses nothing (listening.py), so a coding that a proxy reads in another way changes no body.
    """
    if request.content_type != media_type:
        raise ApiProblem(415, "unsupported_media_type", f"The body must be {media_type}")
    for codings in request.headers.getall(hdrs.CONTENT_ENCODING, ()):
        if any(coding.strip(" \t").lower() != "identity" for coding in codings.split(",")):
            raise ApiProblem(415, "unsupported_media_type", "Compressed bodies are not accepted")
