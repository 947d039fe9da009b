"""Finds the constructs that a toolchain file forbids: advice to honest users, while the jail is the wall.

A plain substring test comes first. Only a source in which it hits is lexed, by Pygments in a worker process with a
deadline past which the source is allowed; a word in a comment or a string literal never matches.
"""

import asyncio
import concurrent.futures
import ctypes
import dataclasses
import multiprocessing
import re
import signal
import typing
from collections.abc import Iterator

from daemon.toolchain.schema import Forbidden, Toolchain

DEADLINE_S = 0.2
PR_SET_PDEATHSIG = 1
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w{2,}")
_GAP = "..."


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Where (line from 1), what and why."""

    line: int
    found: str
    reason: str


class Constructs:
    """`async with Constructs() as constructs`; one worker process, replaced when it misses its deadline."""

    def __init__(self) -> None:
        self._worker: concurrent.futures.ProcessPoolExecutor | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Constructs":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_worker()

    async def find(self, toolchain: Toolchain, code: str) -> Finding | None:
        """The first forbidden construct, or None; None too when lexing takes too long or its process dies."""
        if toolchain.lexer is None:
            return None
        suspects = tuple(rule for rule in toolchain.forbidden if _may_contain(code, rule))
        if not suspects:
            return None
        rules = tuple((rule.tokens, rule.reason) for rule in suspects)
        async with self._turn:  # the deadline is a source's own: it does not count the wait for others
            loop = asyncio.get_running_loop()
            try:
                if self._worker is None:
                    context = multiprocessing.get_context("spawn")
                    self._worker = concurrent.futures.ProcessPoolExecutor(
                        1, mp_context=context, initializer=_die_with_parent
                    )
                    await loop.run_in_executor(self._worker, search, toolchain.lexer, "", ())
                async with asyncio.timeout(DEADLINE_S):
                    return await loop.run_in_executor(self._worker, search, toolchain.lexer, code, rules)
            except (TimeoutError, concurrent.futures.BrokenExecutor):
                self._stop_worker()
                return None

    def _stop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            for process in list(worker._processes.values()):
                process.kill()
            worker.shutdown(wait=False, cancel_futures=True)


def _die_with_parent() -> None:
    """A worker holds both ends of its queue and would never see that the HTTP process is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _may_contain(code: str, rule: Forbidden) -> bool:
    return any(all(word in code for word in _WORD.findall(pattern)) for pattern in rule.tokens)


def search(lexer: str, code: str, rules: tuple[tuple[tuple[str, ...], str], ...]) -> Finding | None:
    """Runs in the worker process: the first place where one of the patterns matches the code's tokens."""
    pieces = list(_pieces(lexer, code))
    found = [
        Finding(line, pattern, reason)
        for patterns, reason in rules
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
    """Lines where the pattern begins. A pattern's piece in double quotes matches a literal in any quotes."""
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
        return piece[:1] in "\"'`" and piece[1:-1] == part[1:-1]
    return piece == part
