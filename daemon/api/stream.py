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

SEND_S = 10.0  # for one event to be taken
CONTENT_TYPE = "text/event-stream"

Event = tuple[str, str]  # name and data
Work = Callable[[Callable[[str], None], OnOutput], Awaitable[Event]]


def is_wanted(request: web.Request) -> bool:
    return CONTENT_TYPE in request.headers.get("Accept", "")


async def stream(request: web.Request, work: Work) -> web.StreamResponse:
    """Answer with what `work` says by its two callbacks, then with the event that it returns.

    Cancelled with the request, it cancels the work, and with it the run.
    """
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    def on_stage(stage: str) -> None:
        events.put_nowait(("stage", json.dumps({"stage": stage})))

    def on_output(name: str, data: bytes) -> None:
        text = decoders[name].decode(data)
        if text:
            events.put_nowait((name, json.dumps({"text": text})))

    async def run() -> None:
        try:
            last = await work(on_stage, on_output)
            for name, decoder in decoders.items():
                rest = decoder.decode(b"", final=True)
                if rest:
                    events.put_nowait((name, json.dumps({"text": rest})))
            events.put_nowait(last)
        finally:
            events.put_nowait(None)

    async with sse_response(request, allow_all_methods=True) as response, asyncio.TaskGroup() as group:
        running = group.create_task(run())
        try:
            await _send(response, events)
        except (TimeoutError, ConnectionError):
            running.cancel()
    return response


async def _send(response: EventSourceResponse, events: "asyncio.Queue[Event | None]") -> None:
    while (event := await events.get()) is not None:
        async with asyncio.timeout(SEND_S):
            await response.send(event[1], event=event[0])
