"""A load generator that costs little: requests are due at a steady rate and are sent then, whether or not earlier ones
were answered. Latencies are from the moment at which a request was due, so a server that falls behind cannot hide it.

It speaks as much HTTP/1.1 as cellblock answers with: a head, Content-Length, a body. aiohttp's client took a sixth of
the machine that it was to measure.
"""

import asyncio
import collections
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import cast

LATE_S = 0.05  # of the load generator itself
ANSWER_S = 60.0  # then a request is lost

Program = tuple[str, bytes, Callable[[dict[str, object]], bool]]  # path, body, whether a 200 is right


class Connection(asyncio.Protocol):
    """Keeps alive; one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes, bytes]] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True  # uvloop's is none by class

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed without an answer"))

    async def exchange(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body. Raises ConnectionError."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or self._answer is None or self._answer.done():
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._buffer = b""
            self._answer.set_result((int(head[9:12]), head, body))

    def close(self) -> None:
        self._transport.close()


class Load:
    """Milliseconds of answers by their status, counted only where a 200 is right; what had no answer, or a wrong one."""

    def __init__(self, host: str, port: int, program: Callable[[int], Program]) -> None:
        self._host, self._port, self._program = host, port, program
        self._idle: list[Connection] = []
        self.took_ms: dict[int, list[float]] = collections.defaultdict(list)
        self.lost: list[str] = []

    async def one(self, due_s: float, number: int) -> None:
        """Send one that is new and count what comes back."""
        path, body, is_right = self._program(number)
        request = (
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (path.encode(), len(body), body)
        )  # fmt: skip
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._connection()
                status, head, answer = await connection.exchange(request)
        except (OSError, TimeoutError) as error:
            self.lost.append(repr(error))
            return
        took_ms = (time.perf_counter() - due_s) * 1e3
        if b"\r\nconnection: close" in head.lower():
            connection.close()
        elif connection.is_open:
            self._idle.append(connection)
        if status == 200 and is_right(json.loads(answer)):
            self.took_ms[200].append(took_ms)
        elif status in (429, 503) and b"\r\nretry-after: " in head.lower():
            self.took_ms[status].append(took_ms)
        else:
            self.lost.append(f"{status}: {answer[:300]!r}")

    async def _connection(self) -> Connection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        return made

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


async def one_by_one(load: Load, numbers: Iterator[int], count: int) -> None:
    for _ in range(count):
        await load.one(time.perf_counter(), next(numbers))


async def as_many_as_possible(load: Load, numbers: Iterator[int], at_once: int, seconds: float) -> float:
    """Right answers a second."""
    end_s = time.perf_counter() + seconds

    async def go_on() -> None:
        while (now_s := time.perf_counter()) < end_s:
            await load.one(now_s, next(numbers))

    await asyncio.gather(*(go_on() for _ in range(at_once)))
    return len(load.took_ms[200]) / seconds


async def offer(load: Load, numbers: Iterator[int], per_s: float, seconds: float) -> float:
    """Returns the share of requests that were sent late, by the generator's own fault."""
    began_s, late, sent = time.perf_counter(), 0, set[asyncio.Task[None]]()
    count = max(1, int(per_s * seconds))
    for number in range(count):
        due_s = began_s + number / per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        late += time.perf_counter() > due_s + LATE_S
        task = asyncio.create_task(load.one(due_s, next(numbers)))
        sent.add(task)
        task.add_done_callback(sent.discard)
    await asyncio.gather(*sent)
    return late / count


def hello(number: int) -> Program:
    """A Python program that nobody has run before."""
    body = json.dumps({"language": "python", "code": f"print({number})  # {os.getpid()}"}).encode()
    return "/execute", body, lambda answer: answer["output"] == f"{number}\n"
