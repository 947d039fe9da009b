"""From a request to a pydantic model: media type, size, and then a small body is parsed here, a large one elsewhere."""

import asyncio
import contextlib
import os
from typing import TypeVar

import pydantic
from aiohttp import web

from daemon.sandbox.descriptors import write_all

from . import media, parsing
from .admission import Room
from .client import CLIENT
from .errors import ApiProblem
from .parser import Parser

READ_S = 30.0
Model = TypeVar("Model", bound=pydantic.BaseModel)


class Bodies:
    """Reads bodies of at most `bytes_max`."""

    def __init__(self, parser: Parser, bytes_max: int) -> None:
        self._parser, self._bytes_max = parser, bytes_max

    async def read(self, request: web.Request, model: type[Model], room: Room) -> Model:
        """The body as a `model`; `room` holds its bytes as they come, and the caller gives them back.

        Raises ApiProblem: 408 (not there within READ_S), 413 (too large), 415 (another media type, or compressed), 503
        (no room); BadBody (not JSON, or not the model); CannotParse and turns.seats.Refused for a large one; OSError.
        """
        media.check(request, "application/json")
        with contextlib.ExitStack() as stack:
            try:
                async with asyncio.timeout(READ_S):
                    received = await self._receive(request, room, stack)
            except TimeoutError:
                raise ApiProblem(
                    408, "request_timeout", f"The body did not arrive within {READ_S:.0f} seconds"
                ) from None
            if isinstance(received, int):
                return await self._parser.parse(received, model, request[CLIENT])
            return parsing.parse(received, model)

    async def _receive(self, request: web.Request, room: Room, stack: contextlib.ExitStack) -> bytearray | int:
        """A large body goes to a memfd, which the stack closes, piece by piece: none is in this process whole."""
        data, size, file = bytearray(), 0, None
        if (request.content_length or 0) <= self._bytes_max:
            while piece := await request.content.readany():
                size += len(piece)
                if size > self._bytes_max:
                    break
                room.resize(size)
                data += piece
                if len(data) > parsing.SMALL_BYTES:
                    if file is None:
                        file = os.memfd_create("body", os.MFD_CLOEXEC)
                        stack.callback(os.close, file)
                    write_all(file, bytes(data))
                    data.clear()
            else:
                if file is None:
                    return data
                write_all(file, bytes(data))
                return file
        raise ApiProblem(413, "body_too_large", f"Request body too large (max {self._bytes_max} bytes)")
