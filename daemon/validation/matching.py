"""Where the tokens of a source match patterns of forbidden constructs: what the lexer's process does.

A word in a comment or a string literal never matches.
"""

import dataclasses
import re
import typing
from collections.abc import Iterator

_PIECE = re.compile(r"\w+|[^\w\s]")
_GAP = "..."

Rules = tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...]  # `tokens`, `beside` and `reason` of each Forbidden


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A forbidden construct: its line (from 1), the pattern that was found, and why it is forbidden."""

    line: int
    found: str
    reason: str


def search(lexer: str, code: str, rules: Rules) -> Finding | None:
    """The first place where one of the patterns matches the code's tokens, or None."""
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
