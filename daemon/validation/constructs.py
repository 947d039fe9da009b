"""Finds the constructs that a toolchain file forbids: advice to honest users, while the jail is the wall.

A plain substring test comes first. Only a source in which it hits is lexed, by Pygments in a worker process. A source
waits for its turn at the worker for TURN_S at most and has `deadline_s` there; past either it is allowed. A word in a
comment or a string literal never matches.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
import re
import signal
import sys
import typing
from collections.abc import Iterable, Iterator

import structlog

from daemon.sandbox import linux
from daemon.toolchain.schema import Forbidden, Toolchain

log = structlog.get_logger("cellblock.validation")

TURN_S = 0.1
START_S = 30.0
# The tracker of semaphores, a process of its own that takes its options from here, tidies up after one that was killed.
# Its warning would be plain text in a log of JSON.
QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w{2,}")
_GAP = "..."

Rules = tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...]  # `tokens`, `beside` and `reason` of each Forbidden


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A forbidden construct: its line (from 1), the pattern that was found, and why it is forbidden."""

    line: int
    found: str
    reason: str


class Constructs:
    """`async with Constructs(toolchains, deadline_s) as constructs` keeps a worker process and replaces a slow one.

    `find` may be called by many at once; no call lasts longer than TURN_S and `deadline_s` (seconds) together. `counts`
    has how often a source was allowed unread: `busy` (no turn in time) and `late` (past the deadline, or the lexer died
    of it).
    """

    def __init__(self, toolchains: Iterable[Toolchain], deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._lexers = sorted({toolchain.lexer for toolchain in toolchains if toolchain.lexer is not None})
        self._worker: concurrent.futures.ProcessPoolExecutor | None = None
        self._turn = asyncio.Lock()  # held by whoever uses or replaces the worker
        self._using: asyncio.Task[None] | None = None
        self.counts: collections.Counter[str] = collections.Counter()

    async def __aenter__(self) -> "Constructs":
        """Returns when the first worker is ready, so that the first source is checked like every other."""
        await self._start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._using is not None:
            self._using.cancel()
            await asyncio.wait([self._using])
        worker = self._kill_worker()
        if worker is not None:
            # Its thread must be gone before the interpreter's exit wakes it up by a pipe that the thread itself closes.
            await asyncio.to_thread(worker.shutdown, wait=True)

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
        rules = rules_of(suspects)
        # A task of its own: the worker stays busy until it answers, whether or not the caller is still there.
        self._using = asyncio.create_task(self._use_worker(toolchain.lexer, code, rules, answer))
        return await answer

    async def _use_worker(self, lexer: str, code: str, rules: Rules, answer: "asyncio.Future[Finding | None]") -> None:
        """Holds the turn, which it gives back. It answers first and replaces the worker, if it must, after that."""
        try:
            try:
                found = await self._search(lexer, code, rules)
            except Exception as error:  # a defect, which belongs to the caller's request
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(found)
            if self._worker is None:
                await self._start_worker()
        finally:
            self._turn.release()

    async def _search(self, lexer: str, code: str, rules: Rules) -> Finding | None:
        if self._worker is None:
            return None
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._worker, search, lexer, code, rules)
        except (TimeoutError, concurrent.futures.BrokenExecutor):
            self.counts["late"] += 1
            self._stop_worker()
            return None

    async def _start_worker(self) -> None:
        """Leaves no worker behind when it does not start within START_S; then the next source has it tried again."""
        loop = asyncio.get_running_loop()
        if QUIET not in sys.warnoptions:
            sys.warnoptions.append(QUIET)
        self._worker = concurrent.futures.ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=die_with_parent, initargs=(os.getpid(),)
        )
        try:
            async with asyncio.timeout(START_S):
                for lexer in self._lexers:  # loaded now, so that no source's deadline pays for it
                    await loop.run_in_executor(self._worker, search, lexer, "", ())
        except (TimeoutError, OSError, concurrent.futures.BrokenExecutor) as error:
            log.warning("input validation has no lexer", reason=type(error).__name__)
            self._stop_worker()

    def _stop_worker(self) -> None:
        worker = self._kill_worker()
        if worker is not None:
            worker.shutdown(wait=False, cancel_futures=True)

    def _kill_worker(self) -> concurrent.futures.ProcessPoolExecutor | None:
        """What is left of the worker once its process is killed, or None; the caller's to shut down."""
        worker, self._worker = self._worker, None
        if worker is not None:
            for process in list(worker._processes.values()):
                process.kill()
        return worker


def die_with_parent(parent: int) -> None:
    """A worker holds both ends of its queue and would never see that the HTTP process, its `parent`, is gone."""
    if not linux.die_with_parent(signal.SIGKILL, parent):
        os._exit(1)


def _may_contain(code: str, rule: Forbidden) -> bool:
    return _has_words(code, rule.tokens) and (not rule.beside or _has_words(code, rule.beside))


def _has_words(code: str, patterns: Iterable[str]) -> bool:
    return any(all(word in code for word in _WORD.findall(pattern)) for pattern in patterns)


def rules_of(forbidden: Iterable[Forbidden]) -> Rules:
    """What `search` looks for."""
    return tuple((rule.tokens, rule.beside, rule.reason) for rule in forbidden)


def search(lexer: str, code: str, rules: Rules) -> Finding | None:
    """The first place where one of the patterns matches the code's tokens, or None. It runs in the worker process."""
    pieces = list(_pieces(lexer, code))
    found = [
        Finding(line, pattern, reason)
        for patterns, beside, reason in rules
        if not beside or any(True for pattern in beside for _ in _matches(pieces, pattern.split()))
        for pattern in patterns
        for line in _matches(pieces, pattern.split())
    ]
    return min(found, key=lambda finding: finding.line, default=None)


def _pieces(lexer: str, code: str) -> Iterator[tuple[int, str]]:
    """(line, piece): words and punctuation of the code proper; a string literal is one piece, "" for a line's end."""
    import pygments.lexers
    from pygments import token

    string, comment, blank = (typing.cast(typing.Any, kind) for kind in (token.String, token.Comment, token.Text))

    line = 1
    literal, literal_line = "", 0
    for kind, text in pygments.lexers.get_lexer_by_name(lexer, stripnl=False).get_tokens(code):
        if kind in string:
            literal_line = literal_line or line
            literal += text
        else:
            if literal:
                yield literal_line, literal
                literal, literal_line = "", 0
            if kind not in comment:
                if kind not in blank:
                    yield from ((line, piece) for piece in _PIECE.findall(text))
                if "\n" in text:
                    yield line, ""
        line += text.count("\n")
    if literal:
        yield literal_line, literal


def _matches(pieces: list[tuple[int, str]], pattern: list[str]) -> Iterator[int]:
    """The lines where the pattern begins. A pattern's piece in double quotes matches a literal in any
    quotes, `"http*"` one that begins so."""
    wanted = [part for word in pattern for part in _split(word)]
    for start, (line, _) in enumerate(pieces):
        if _match_at(pieces, start, wanted):
            yield line


def _split(word: str) -> list[str]:
    return [word] if word == _GAP or word.startswith('"') else _PIECE.findall(word)


def _match_at(pieces: list[tuple[int, str]], start: int, wanted: list[str]) -> bool:
    position = start
    for index, part in enumerate(wanted):
        if part == _GAP:
            rest = wanted[index + 1 :]
            while position < len(pieces) and pieces[position][1] not in ("", ";"):
                if _match_at(pieces, position, rest):
                    return True
                position += 1
            return False
        while position > start and position < len(pieces) and pieces[position][1] == "":
            position += 1  # a line's end between two pieces of one construct
        if position >= len(pieces) or not _same(pieces[position][1], part):
            return False
        position += 1
    return True


def _same(piece: str, part: str) -> bool:
    if part.startswith('"'):
        wanted = part[1:-1]
        return piece[:1] in "\"'`" and (
            piece[1:].startswith(wanted[:-1]) if wanted.endswith("*") else piece[1:-1] == wanted
        )
    return piece == part
