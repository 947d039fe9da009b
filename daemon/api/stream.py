"""Event streams: stage, stdout, stderr and test as they happen, result (or error) last.

Data is JSON: {"stage": id}, {"text": …}, a test's result, the answer without a stream, a problem. The run does not wait
for its reader: what is not read counts as an unread answer (unread.py), which bounds it in bytes and in time.
"""

import asyncio
import codecs
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from . import errors
from .listening import Connection

CONTENT_TYPE = "text/event-stream"

WRITE_BYTES = 256 << 10  # at once: others have a turn after that

Event = tuple[str, bytes | bytearray]  # name, and data in one line of UTF-8
Tell = Callable[[str, bytes], None]  # name and data of an event
Work = Callable[[Tell], Awaitable[Event]]


def is_wanted(request: web.Request) -> bool:
    """True when the client names event streams as acceptable, which a weight of 0 denies (RFC 9110, 12.4.2)."""
    accept = request.headers.get("Accept", "").lower()
    return CONTENT_TYPE in accept and any(map(_names_streams, accept.split(",")))


def _names_streams(media_range: str) -> bool:
    media_type, *parameters = (part.strip() for part in media_range.split(";"))
    return media_type == CONTENT_TYPE and not any(re.fullmatch(r"q=0(\.0{0,3})?", one) for one in parameters)


async def stream(request: web.Request, work: Work) -> web.StreamResponse:
    """Answer with the events that `work` tells, then with the event that it returns, or `error` if it raises.

    Once the headers are sent nothing is raised: what goes wrong is the stream's last event (or its end, where nobody
    takes that any more) and stands in the log. Cancelled with the request, it cancels the work, and with it the run.
    """
    events = Events(request.protocol)
    async with sse_response(request, allow_all_methods=True, send_timeout=None, response_cls=Response) as response:
        running = asyncio.create_task(_run(work, events, request))
        try:
            while (event := await events.get()) is not None:
                await response.write_parts(_encoded(event))
                events.written(event)
        except ConnectionError:
            pass  # the reader is gone
        except Exception as error:  # the headers are sent: a second response would stand in the middle of the stream
            errors.of(error, request)
        finally:
            running.cancel()
            await asyncio.wait([running])
    return response


class Response(EventSourceResponse):
    """What is written between events, a ping for whoever waits, never comes between the parts of one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._whole = asyncio.Lock()

    async def write(self, data: Any) -> None:
        """As aiohttp's."""
        async with self._whole:
            await super().write(data)

    async def write_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """One after the other, and nothing else meanwhile."""
        async with self._whole:
            for part in parts:
                await super().write(part)


def _encoded(event: Event) -> Iterator[bytes | memoryview]:
    """On the wire, in parts. JSON has no line break, which aiohttp_sse would look for: in 12 MB, for 0.2 s."""
    name, data = event
    head, end = f"event: {name}\r\ndata: ".encode(), b"\r\n\r\n"
    if len(data) <= WRITE_BYTES:
        yield b"".join((head, data, end))
        return
    yield head
    for start in range(0, len(data), WRITE_BYTES):
        yield memoryview(data)[start : start + WRITE_BYTES]
    yield end


class Events:
    """Events that wait to be written, or are. The connection is told of their size."""

    def __init__(self, connection: object) -> None:
        self._connection = connection if isinstance(connection, Connection) else None
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue()

    def put(self, event: Event | None) -> None:
        """The next event; None is the end."""
        self._waiting.put_nowait(event)
        self._resize(event, 1)

    async def get(self) -> Event | None:
        """Wait for the next event."""
        return await self._waiting.get()

    def written(self, event: Event) -> None:
        """It is the connection's now, which counts what it has not sent yet."""
        self._resize(event, -1)

    def _resize(self, event: Event | None, sign: int) -> None:
        if self._connection is not None and event is not None:
            self._connection.queue(sign * len(event[1]))


async def _run(work: Work, events: Events, request: web.Request) -> None:
    """Tell all events of `work`, and None after the last, whatever happens."""
    try:
        last = await work(lambda name, data: events.put((name, data)))
    except Exception as error:  # a defect, too, has no other place to go than the stream
        last = "error", errors.body(errors.of(error, request)).encode()
    events.put(last)
    events.put(None)


class Output:
    """Tells a program's output as text: what is no UTF-8 becomes U+FFFD, and a character is never cut in two."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    def hear(self, name: str, data: bytes) -> None:
        """The next bytes of `stdout` or `stderr`."""
        self._say(name, self._decoders[name].decode(data))

    def end(self) -> None:
        """What was left of a character."""
        for name, decoder in self._decoders.items():
            self._say(name, decoder.decode(b"", final=True))

    def _say(self, name: str, text: str) -> None:
        if text:
            self._tell(name, json.dumps({"text": text}).encode())


def stage(tell: Tell) -> Callable[[str], None]:
    """What tells the stages of a run."""
    return lambda name: tell("stage", json.dumps({"stage": name}).encode())
