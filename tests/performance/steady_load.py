"""A load generator that costs little: requests are due at a steady rate and are sent then, whether or not earlier ones
were answered. Latencies are from the moment at which a request was due, so a server that falls behind cannot hide it.

It speaks as much HTTP/1.1 as cellblock answers with: a head, Content-Length, a body.
"""

import asyncio
import collections
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any, cast

from daemon.bench.measure import quantile

LATE_S = 0.05  # of the load generator itself
ANSWER_S = 120.0  # then a request is lost
LOST_KEPT = 5

Program = tuple[
    str, dict[str, Any], Callable[[dict[str, Any]], bool]
]  # path, body, whether the answer of a 200 is right


class Connection(asyncio.Protocol):
    """Stays open; one request at a time."""

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
        """Status, head in lower case, and body. Raises ConnectionError."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or self._answer is None or self._answer.done():
            return
        head = head.lower()
        if len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._buffer = b""
            self._answer.set_result((int(head[9:12]), head, body))

    def close(self) -> None:
        self._transport.close()


class Load:
    """Sends programs that are new each time, over as many connections as it takes.

    `took_ms` has the milliseconds of answers by their status, of a 200 only where it is right; `lost` counts what had no
    answer or a wrong one, and `lost_as` says of some why.
    """

    def __init__(self, port: int, program: Callable[[int], Program]) -> None:
        self._port, self._program = port, program
        self._numbers = itertools.count()
        self._idle: list[Connection] = []
        self.forget()

    def forget(self) -> None:
        """Count anew, and only what is due from now on."""
        self._from_s = time.perf_counter()
        self.took_ms: dict[int, list[float]] = collections.defaultdict(list)
        self.lost, self.lost_as = 0, list[str]()

    def p_ms(self, status: int, part: float) -> float:
        """Not a number where nothing had this status."""
        found = sorted(self.took_ms[status])
        return quantile(found, part) if found else float("nan")

    def told(self, status: int) -> str:
        parts = ", ".join(f"p{part * 100:g} {self.p_ms(status, part):.1f}" for part in (0.5, 0.95, 0.99, 1.0))
        count = len(self.took_ms[status])
        return f"{status}: {count} answers, {parts} ms" if count else f"{status}: none"

    async def one(self, due_s: float) -> None:
        path, fields, is_right = self._program(next(self._numbers))
        body = json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._connection()
                status, said, answer = await connection.exchange(head.encode() + body)
        except (OSError, TimeoutError) as error:
            self._lose(repr(error))
            return
        took_ms = (time.perf_counter() - due_s) * 1e3
        if b"\r\nconnection: close" in said:
            connection.close()
        elif connection.is_open:
            self._idle.append(connection)
        is_refused = status in (429, 503) and b"\r\nretry-after: " in said and b"sandbox_unavailable" not in answer
        if is_refused or (status == 200 and is_right(json.loads(answer))):
            if due_s >= self._from_s:
                self.took_ms[status].append(took_ms)
        else:
            self._lose(f"{status} for {path} {fields.get('language')}: {answer[:300].decode(errors='replace')}")

    def _lose(self, why: str) -> None:
        self.lost += 1
        if len(self.lost_as) < LOST_KEPT:
            self.lost_as.append(why)

    async def _connection(self) -> Connection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        return made

    def close(self) -> None:
        """Those connections that nothing is under way on."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    # -- how many, and when

    async def one_by_one(self, count: int) -> None:
        for _ in range(count):
            await self.one(time.perf_counter())

    async def as_many_as_possible(self, at_once: int, seconds: float) -> float:
        """Right answers a second."""
        self.forget()
        end_s = time.perf_counter() + seconds

        async def go_on() -> None:
            while (now_s := time.perf_counter()) < end_s:
                await self.one(now_s)

        await asyncio.gather(*(go_on() for _ in range(at_once)))
        return len(self.took_ms[200]) / seconds

    async def offer(self, per_s: float, seconds: float, begin_s: float = 0.0) -> float:
        """So many a second, for `begin_s` uncounted and then for `seconds`. Returns when all are answered: the share of
        them that was sent late, by the generator's own fault."""
        count, uncounted = max(1, int(per_s * (begin_s + seconds))), int(per_s * begin_s)
        self.forget()
        began_s, late, sent = self._from_s, 0, set[asyncio.Task[None]]()
        for number in range(count):
            due_s = began_s + number / per_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            late += time.perf_counter() > due_s + LATE_S
            if number == uncounted > 0:
                self.forget()
                due_s = self._from_s
            task = asyncio.create_task(self.one(due_s))
            sent.add(task)
            task.add_done_callback(sent.discard)
        await asyncio.gather(*sent)
        return late / count


def hello(number: int) -> Program:
    """A Python program that nobody has run before."""
    code = f"print({number})  # {os.getpid()}"
    return "/execute", {"language": "python", "code": code}, lambda answer: answer["output"] == f"{number}\n"


class Verdicts:
    """Prints each target, whether it is met; `all_met` at the end."""

    def __init__(self) -> None:
        self.all_met = True

    def say(self, is_met: bool, text: str) -> None:
        self.all_met &= is_met
        print(f"  {'met   ' if is_met else 'MISSED'} {text}", flush=True)
