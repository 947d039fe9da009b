"""POST /execute as an event stream: stage, stdout and stderr as they happen, result (or error) last.

Data is JSON: {"stage": id}, {"text": …}, the answer of POST /execute, a problem. A reader that is too slow loses its
stream; the run does not wait for it.
"""

import asyncio
import codecs
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from daemon.sandbox.pumps import OnOutput

from . import problems

SEND_S = 10.0  # for one event to be taken
CONTENT_TYPE = "text/event-stream"

Event = tuple[str, str]  # name and data
Work = Callable[[Callable[[str], None], OnOutput], Awaitable[Event]]


def is_wanted(request: web.Request) -> bool:
    """True when the client accepts an event stream."""
    return CONTENT_TYPE in request.headers.get("Accept", "")


async def stream(request: web.Request, work: Work) -> web.StreamResponse:
    """Answer with what `work` says by its two callbacks, then with the event that it returns, or `error` if it raises.

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
            problems.of(error, request)
        finally:
            running.cancel()
            await asyncio.wait([running])
    return response


async def _run(work: Work, events: "asyncio.Queue[Event | None]", request: web.Request) -> None:
    """Put all events of `work` into the queue, and None after the last, whatever happens."""
    decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    def on_stage(stage: str) -> None:
        events.put_nowait(("stage", json.dumps({"stage": stage})))

    def on_output(name: str, data: bytes) -> None:
        text = decoders[name].decode(data)
        if text:
            events.put_nowait((name, json.dumps({"text": text})))

    try:
        last = await work(on_stage, on_output)
    except Exception as error:  # a defect, too, has no other place to go than the stream
        last = "error", problems.body(problems.of(error, request))
    for name, decoder in decoders.items():
        rest = decoder.decode(b"", final=True)
        if rest:
            events.put_nowait((name, json.dumps({"text": rest})))
    events.put_nowait(last)
    events.put_nowait(None)


async def _send(response: EventSourceResponse, events: "asyncio.Queue[Event | None]") -> None:
    while (event := await events.get()) is not None:
        async with asyncio.timeout(SEND_S):
            await response.send(event[1], event=event[0])
