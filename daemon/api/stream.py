"""Event streams: stage, stdout, stderr and test as they happen, result (or error) last.

Data is JSON: {"stage": id}, {"text": …}, a test's result, the answer without a stream, a problem. A reader that is too
slow loses its stream; the run does not wait for it.
"""

import asyncio
import codecs
import json
import re
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from . import errors

SEND_S = 10.0  # for one event to be taken
CONTENT_TYPE = "text/event-stream"

Event = tuple[str, str]  # name and data
Tell = Callable[[str, str], None]  # name and data of an event
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
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    async with sse_response(request, allow_all_methods=True) as response:
        running = asyncio.create_task(_run(work, events, request))
        try:
            await _send(response, events)
        except (TimeoutError, ConnectionError):
            pass  # the reader is too slow, or gone
        except Exception as error:  # the headers are sent: a second response would stand in the middle of the stream
            errors.of(error, request)
        finally:
            running.cancel()
            await asyncio.wait([running])
    return response


async def _run(work: Work, events: "asyncio.Queue[Event | None]", request: web.Request) -> None:
    """Put all events of `work` into the queue, and None after the last, whatever happens."""
    try:
        last = await work(lambda name, data: events.put_nowait((name, data)))
    except Exception as error:  # a defect, too, has no other place to go than the stream
        last = "error", errors.body(errors.of(error, request))
    events.put_nowait(last)
    events.put_nowait(None)


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
            self._tell(name, json.dumps({"text": text}))


def stage(tell: Tell) -> Callable[[str], None]:
    """What tells the stages of a run."""
    return lambda name: tell("stage", json.dumps({"stage": name}))


async def _send(response: EventSourceResponse, events: "asyncio.Queue[Event | None]") -> None:
    while (event := await events.get()) is not None:
        async with asyncio.timeout(SEND_S):
            await response.send(event[1], event=event[0])
