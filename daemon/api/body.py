"""From a request to a pydantic model: media type, size, and then a small body is parsed here, a large one elsewhere."""

import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

import pydantic
from aiohttp import web

from daemon.sandbox.descriptors import write_all

from . import media, pace, parsing
from .admission import Room
from .client import CLIENT, Client
from .errors import ApiProblem
from .parser import Parser

Model = TypeVar("Model", bound=pydantic.BaseModel)


class Bodies:
    """Reads bodies of at most `bytes_max`, which come at `bytes_per_s_min` at least."""

    def __init__(self, parser: Parser, bytes_max: int, bytes_per_s_min: int) -> None:
        self._parser, self._bytes_max, self._bytes_per_s_min = parser, bytes_max, bytes_per_s_min

    async def read(self, request: web.Request, model: type[Model], room: Room) -> Model:
        """The body as a `model`; `room` holds its bytes as they come, and the caller gives them back.

        Raises ApiProblem: 408 (it comes too slowly), 413 (too large), 415 (another media type, or compressed), 429 and
        503 (no room); BadBody (not JSON, or not the model); CannotParse and turns.seats.Refused for a large one;
        OSError.
        """
        media.check(request, "application/json")
        with contextlib.ExitStack() as stack:
            if request.content.is_eof():  # all of it has come with the headers
                received = await self._receive(request, room, stack, None)
            else:
                async with pace.at_least(self._bytes_per_s_min) as came:
                    received = await self._receive(request, room, stack, came)
            if isinstance(received, int):
                return await self._parser.parse(received, model, request[CLIENT])
            return parsing.parse(received, model)

    async def parse(self, data: bytes, model: type[Model], client: Client) -> Model:
        """What came by another way than as a request's body. Raises BadBody; for what is large CannotParse,
        turns.seats.Refused and OSError too."""
        if len(data) <= parsing.SMALL_BYTES:
            return parsing.parse(data, model)
        file = os.memfd_create("body", os.MFD_CLOEXEC)
        try:
            write_all(file, data)
            return await self._parser.parse(file, model, client)
        finally:
            os.close(file)

    async def _receive(
        self, request: web.Request, room: Room, stack: contextlib.ExitStack, came: Callable[[int], None] | None
    ) -> bytearray | int:
        """A large body goes to a memfd, which the stack closes, piece by piece: none is in this process whole."""
        data, size, file = bytearray(), 0, None
        if (request.content_length or 0) <= self._bytes_max:
            while piece := await request.content.readany():
                size += len(piece)
                if size > self._bytes_max:
                    break
                room.resize(size)
                if came is not None:
                    came(size)
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
