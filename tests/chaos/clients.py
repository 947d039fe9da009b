"""Clients that go on asking, whatever is done to the server, and count what they are told."""

import asyncio
import collections
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from tests.chaos.requests import Request, Requests, Wrong, check_refusal

ANSWER_S = 90.0  # a request that has no answer by then is lost
PROBE_EVERY_S = 0.02
PROBE_S_MAX = 60.0
REFUSED_S = 0.1  # after a refusal; Retry-After says a second, which would be less load
WRONG_KEPT = 20


class Told:
    """What clients were told: `answers` by status and code, connections that were `cut`, and what was `wrong`."""

    def __init__(self) -> None:
        self.answers: collections.Counter[str] = collections.Counter()
        self.right: collections.Counter[str] = collections.Counter()
        self.cut = self.ie = self.wrong_count = 0
        self.wrong: list[str] = []

    def blame(self, request: Request, why: str) -> None:
        self.wrong_count += 1
        if len(self.wrong) < WRONG_KEPT:
            self.wrong.append(f"{time.strftime('%H:%M:%S')} {request.name}: {why[:600]}")

    @property
    def asked(self) -> int:
        return sum(self.answers.values())


class Client:
    """Asks over a connection of its own each time, so that all HTTP processes are asked."""

    def __init__(self, port: int, told: Told) -> None:
        self._url, self._told = f"http://127.0.0.1:{port}", told
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(ANSWER_S)
        )

    async def ask(self, request: Request) -> bool:
        """True for the right answer. A connection that is cut is repeated; a refusal is not."""
        while True:
            try:
                status, headers, body = await self._exchange(request)
            except TimeoutError:
                self._told.blame(request, f"no answer in {ANSWER_S:.0f} s")
                return False
            except (aiohttp.ClientError, OSError):
                self._told.cut += 1
                await asyncio.sleep(PROBE_EVERY_S)
                continue
            return self._judge(request, status, headers, body)

    def _judge(self, request: Request, status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> bool:
        try:
            if status not in (200, 201):
                self._told.answers[f"{status} {check_refusal(status, headers, body)}"] += 1
                return False
            self._told.answers[str(status)] += 1
            self._told.ie += body.get("verdict") == "IE"
            request.check(body)
        except (Wrong, KeyError) as error:
            self._told.blame(request, repr(error))
            return False
        self._told.right[request.name] += 1
        return body.get("verdict") != "IE"

    async def _exchange(self, request: Request) -> tuple[int, Mapping[str, str], Mapping[str, Any]]:
        headers = {"Content-Type": request.content_type}
        if request.streams:
            headers["Accept"] = "text/event-stream"
        asked = self._session.request(request.method, self._url + request.path, data=request.body, headers=headers)
        async with asked as response:
            text = await response.text()
            if response.content_type == "text/event-stream":
                return _last_event(text)
            return response.status, response.headers, json.loads(text)

    async def close(self) -> None:
        await self._session.close()


def _last_event(text: str) -> tuple[int, Mapping[str, str], Mapping[str, Any]]:
    """Status, headers and body that the answer would have had without a stream. Raises OSError where it was cut."""
    events = [block for block in text.replace("\r\n", "\n").split("\n\n") if block]
    fields = dict(line.split(": ", 1) for line in events[-1].split("\n")) if events else {}
    match fields.get("event"):
        case "result":
            return 200, {}, json.loads(fields["data"])
        case "error":
            body = json.loads(fields["data"])
            return body["status"], {"Retry-After": "in a stream there are no headers any more"}, body
        case _:
            raise ConnectionError("the stream ended without a result")


async def go_on(client: Client, requests: Requests) -> None:
    """One request after the other until it is cancelled; the problem is stored before it is graded by."""
    is_stored = False
    while True:
        is_right = await client.ask(requests.next() if is_stored else requests.package())
        is_stored |= is_right
        if not is_right:
            await asyncio.sleep(REFUSED_S)


async def until_right(client: Client, requests: Requests, language: str) -> float | None:
    """The moment (time.monotonic) at which a new program of this language ran; None where none did in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PROBE_S_MAX):
            while True:
                if await client.ask(requests.hello(language, is_new=True)):
                    return time.monotonic()
                await asyncio.sleep(PROBE_EVERY_S)
    return None
