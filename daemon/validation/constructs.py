"""Finds the constructs that a toolchain file forbids: advice to honest users, while the jail is the wall.

A plain substring test comes first. Only a source in which it hits is lexed, in a process of its own (lexer_process.py).
A source waits for its turn there for TURN_S at most and has `deadline_s`; past either it is allowed.
"""

import asyncio
import collections
import contextlib
import json
import os
import re
import sys
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from daemon.sandbox.errors import OurFault
from daemon.toolchain.schema import Forbidden, Toolchain

from . import lexer_process
from .matching import Finding, Rules

log = structlog.get_logger("cellblock.validation")

TURN_S = 0.1
START_S = 30.0
REST_S = 0.1  # before one that died is replaced: it may die each time
_WORD = re.compile(r"\w{2,}")


class Died(OurFault):
    """The lexer's process has ended."""


class Constructs:
    """`async with Constructs(toolchains, deadline_s) as constructs` keeps a lexer's process, and replaces one that is
    slow or dies.

    `find` may be called by many at once; no call lasts longer than TURN_S and `deadline_s` (seconds) together. `counts`
    has how often a source was allowed unread: `busy` (no turn in time) and `late` (past the deadline, or there was no
    lexer, or it died of it).
    """

    def __init__(self, toolchains: Iterable[Toolchain], deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._lexers = sorted({toolchain.lexer for toolchain in toolchains if toolchain.lexer is not None})
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()  # held by whoever uses or replaces the process
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: collections.Counter[str] = collections.Counter()

    async def __aenter__(self) -> "Constructs":
        """Returns when the first process is ready, so that the first source is checked like every other."""
        async with self._turn:
            await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        self._kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if process is not None:
            await process.wait()

    async def find(self, toolchain: Toolchain, code: str) -> Finding | None:
        """The first forbidden construct, or None.

        None too, which allows the source, when the lexer is busy with others for longer than TURN_S, needs longer than
        the deadline for this source, or dies of it.
        """
        if toolchain.lexer is None:
            return None
        suspects = tuple(rule for rule in toolchain.forbidden if _may_contain(code, rule))
        if not suspects:
            return None
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            self.counts["busy"] += 1
            return None
        answer: asyncio.Future[Finding | None] = asyncio.get_running_loop().create_future()
        # A task of its own: the process stays busy until it answers, whether or not the caller is still there.
        using = self._go_on(self._use(toolchain.lexer, code, rules_of(suspects), answer))
        using.add_done_callback(lambda _: self._give_back(answer))
        return await answer

    def _give_back(self, answer: "asyncio.Future[Finding | None]") -> None:
        """The turn, whatever became of the task, even where it was cancelled before it began."""
        answer.cancel()
        self._turn.release()

    def _go_on(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _use(self, lexer: str, code: str, rules: Rules, answer: "asyncio.Future[Finding | None]") -> None:
        """Holds the turn. It answers first and replaces the process, if it must, after that."""
        try:
            found = await self._search(lexer, code, rules)
        except Exception as error:  # a defect, which belongs to the caller's request
            self._kill()  # whatever it would answer next
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(found)
        if self._process is None:
            await self._start()

    async def _search(self, lexer: str, code: str, rules: Rules) -> Finding | None:
        if self._process is None:
            self.counts["late"] += 1
            return None
        request = json.dumps({"lexer": lexer, "code": code, "rules": rules}).encode() + b"\n"
        try:
            async with asyncio.timeout(self._deadline_s):
                found = await _asked(self._process, request)
        except (TimeoutError, OSError, Died):
            self.counts["late"] += 1
            self._kill()
            return None
        return None if found is None else Finding(**found)

    async def _start(self) -> None:
        """Leaves no process behind when it does not start within START_S; then the next source has it tried again."""
        command = [sys.executable, "-P", "-m", lexer_process.__name__, str(os.getpid()), *self._lexers]
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env={}, cwd="/")
            self._go_on(self._replace(self._process))
            async with asyncio.timeout(START_S):
                await _asked(self._process, b"")
        except (TimeoutError, OSError, Died) as error:
            log.warning("input validation has no lexer", reason=type(error).__name__)
            self._kill()

    async def _replace(self, process: asyncio.subprocess.Process) -> None:
        """When it has died and nobody used it. Of one that is used its user hears, and replaces it."""
        await process.wait()
        await asyncio.sleep(REST_S)
        async with self._turn:
            if self._process is process:
                self._process = None
                await self._start()

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def _asked(process: asyncio.subprocess.Process, request: bytes) -> dict[str, Any] | None:
    """Its next answer. Raises Died, OSError."""
    assert process.stdin is not None and process.stdout is not None
    if process.stdin.is_closing():
        raise Died("it reads no more")
    process.stdin.write(request)
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise Died("no answer")
    answer: dict[str, Any] | None = json.loads(line)
    return answer


def _may_contain(code: str, rule: Forbidden) -> bool:
    return _has_words(code, rule.tokens) and (not rule.beside or _has_words(code, rule.beside))


def _has_words(code: str, patterns: Iterable[str]) -> bool:
    return any(all(word in code for word in _WORD.findall(pattern)) for pattern in patterns)


def rules_of(forbidden: Iterable[Forbidden]) -> Rules:
    """What matching.search looks for."""
    return tuple((rule.tokens, rule.beside, rule.reason) for rule in forbidden)
