"""An uploaded package: from the request to a file without a name on the store's disk, and never whole in memory."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import IO

from aiohttp import web

from daemon.grading.packages.store import disk_errors
from daemon.sandbox.descriptors import write_all
from daemon.sandbox.threads import to_the_end

from . import media, pace
from .errors import RETRY_AFTER_S, ApiProblem

CONTENT_TYPE = "application/zip"
WRITE_BYTES = 1 << 20


class Uploads:
    """At most `at_once` at a time, from the first byte until the answer, and one of each client."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._clients: set[str] = set()

    def __repr__(self) -> str:
        return f"<Uploads: {len(self._clients)}/{self._at_once}>"

    @contextlib.contextmanager
    def one(self, client: str) -> Iterator[None]:
        """The right to upload. Raises ApiProblem 429 for a second one of a client, 503 when all are taken."""
        if client in self._clients:
            detail = "You are uploading a package already; wait for its answer"
            raise ApiProblem(429, "too_many_uploads", detail, retry_after_s=RETRY_AFTER_S)
        if len(self._clients) >= self._at_once:
            detail = f"{self._at_once} packages are being uploaded; try again"
            raise ApiProblem(503, "queue_full", detail, retry_after_s=RETRY_AFTER_S)
        self._clients.add(client)
        try:
            yield
        finally:
            self._clients.remove(client)


async def receive(request: web.Request, file: IO[bytes], bytes_max: int, seconds: float, bytes_per_s_min: int) -> None:
    """Write the body into `file`.

    Raises ApiProblem: 408 (not there within `seconds`, or too slow), 413 (above `bytes_max`), 415 (another media type,
    or compressed); StoreFull and CannotRead as the disk says.
    """
    media.check(request, CONTENT_TYPE)
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    try:
        async with asyncio.timeout(seconds):
            async with pace.at_least(bytes_per_s_min) as came:
                await _receive(request, file, bytes_max, came)
    except TimeoutError:
        raise ApiProblem(408, "request_timeout", f"The package did not arrive within {seconds:g} seconds") from None


async def _receive(request: web.Request, file: IO[bytes], bytes_max: int, came: Callable[[int], None]) -> None:
    size, pieces = 0, bytearray()
    while piece := await request.content.readany():
        size += len(piece)
        came(size)
        if size > bytes_max:
            raise _too_large(bytes_max)
        pieces += piece
        if len(pieces) >= WRITE_BYTES:
            await _write(file, pieces)
            pieces.clear()
    await _write(file, pieces)


async def _write(file: IO[bytes], data: bytearray) -> None:
    with disk_errors():
        await to_the_end(write_all, file.fileno(), bytes(data))


def _too_large(bytes_max: int) -> ApiProblem:
    return ApiProblem(413, "body_too_large", f"Package too large (max {bytes_max} bytes)")
