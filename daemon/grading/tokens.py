"""Comparison token by token: the semantics of the ICPC default output validator.

Sources: problem package format 2025-09, "Default output validator specification", the legacy format's section of the
same name, and the behaviour of the reference validator (problemtools, support/default_validator) where they are silent.
Pure: no clock, no descriptor, no task.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

from .compare import AHEAD_BYTES, SHOWN, Comparer, Readable, difference, leading, quote

MAX_TOKEN_BYTES = 1 << 16  # longer ones are compared as strings in parts, and are no floating-point numbers

_SPACE = re.compile(rb"([ \t\n\v\f\r])")
_TOKEN = re.compile(rb"[^ \t\n\v\f\r]*")
_DECIMAL = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class TokenOptions:
    """The arguments of the default output validator. A tolerance of None is not set; 0 is set.

    `float_tolerance` sets both others and excludes them (2025-09, "Comparing floating-point tokens"). Raises
    ValueError for that, and for a tolerance that is negative or not finite.
    """

    case_sensitive: bool = False
    space_change_sensitive: bool = False
    float_tolerance: float | None = None
    float_relative_tolerance: float | None = None
    float_absolute_tolerance: float | None = None

    def __post_init__(self) -> None:
        for name in ("float_tolerance", "float_relative_tolerance", "float_absolute_tolerance"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number, 0 or more, not {value}")
        others = (self.float_relative_tolerance, self.float_absolute_tolerance)
        if self.float_tolerance is not None and others != (None, None):
            raise ValueError("float_tolerance excludes float_relative_tolerance and float_absolute_tolerance")

    @property
    def relative(self) -> float | None:
        """The relative tolerance that applies."""
        return self.float_tolerance if self.float_relative_tolerance is None else self.float_relative_tolerance

    @property
    def absolute(self) -> float | None:
        """The absolute tolerance that applies."""
        return self.float_tolerance if self.float_absolute_tolerance is None else self.float_absolute_tolerance

    @classmethod
    def of_flags(cls, flags: Sequence[str]) -> "TokenOptions":
        """From the words of a package's `validator_flags` and `output_validator_flags`, or `output_validator_args`.

        As in the reference validator, a later tolerance replaces an earlier one: flags of a package and of a test group
        stand one after the other. Raises ValueError for an unknown word and for a tolerance without its number.
        """
        words: set[str] = set()
        found: dict[str, float | None] = {}
        rest = iter(flags)
        for word in rest:
            match word:
                case "case_sensitive" | "space_change_sensitive":
                    words.add(word)
                case "float_relative_tolerance":
                    found["relative"] = _tolerance(word, next(rest, ""))
                case "float_absolute_tolerance":
                    found["absolute"] = _tolerance(word, next(rest, ""))
                case "float_tolerance":
                    found["relative"] = found["absolute"] = _tolerance(word, next(rest, ""))
                case _:
                    raise ValueError(f"the default output validator has no argument {word!r}")
        return cls(
            case_sensitive="case_sensitive" in words,
            space_change_sensitive="space_change_sensitive" in words,
            float_relative_tolerance=found.get("relative"),
            float_absolute_tolerance=found.get("absolute"),
        )


def _tolerance(name: str, number: str) -> float:
    value = floating(number.encode())
    if value is None or value < 0:
        raise ValueError(f"{name} needs a number, 0 or more, not {number!r}")
    return value


def floating(token: bytes) -> float | None:
    """The value of a floating-point token; None for any other, and for inf, nan and what a double cannot hold.

    Decimal as in the grammar of 2025-09 ("General requirements"). Hexadecimal (`0x1.8p3`) too, since the legacy format
    says IEEE 754-2008 and the reference validator reads with scanf. Not floating-point: `1_000`, `1e`, `1,5`, `inf`.
    """
    if len(token) > MAX_TOKEN_BYTES:
        return None
    if _DECIMAL.fullmatch(token):
        value = float(token)
    elif _HEXADECIMAL.fullmatch(token):
        try:
            value = float.fromhex(token.decode())
        except OverflowError:
            return None
    else:
        return None
    return value if math.isfinite(value) else None


class Tokens(Comparer):
    """Token by token. White space is space, FF, LF, CR, HT and VT; any amount of it is alike, at both ends too, unless
    `space_change_sensitive`: then the white space of both has to be the same byte for byte.

    With a tolerance set, a token of the answer that is a floating-point number demands one: accepted where
    |output - answer| <= absolute, or <= relative * |answer|; either suffices. Other tokens, `inf` and `nan` among them,
    are strings: equal byte for byte, or but for the case of A-Z. Tokens over MAX_TOKEN_BYTES are always strings.
    Bytes that are 0 are bytes of a token; the reference validator ends a token's comparison there.
    """

    def __init__(self, expected: Readable, options: TokenOptions | None = None) -> None:
        super().__init__(expected)
        self._options = options or TokenOptions()
        self._floats = self._options.relative is not None or self._options.absolute is not None
        self._relative, self._absolute = self._options.relative or 0.0, self._options.absolute or 0.0
        self._inside = False  # of a long token, whose bytes were equal so far
        self._all_compared = False

    def _compare(self) -> None:
        step = self._compare_spaced if self._options.space_change_sensitive else self._compare_tokens
        while not self.rejected and not self._all_compared:
            if not (self._compare_inside() if self._inside else self._compare_equal() or step()):
                return

    def _compare_equal(self) -> bool:
        """The fast way: passes whole tokens at the front that are equal byte for byte. False when there are none."""
        self._pull(len(self._text))
        whole = _whole(self._text)
        if whole == 0 or not self._answer.startswith(self._text):
            return False
        self._drop(whole, whole)
        return True

    def _compare_tokens(self) -> bool:
        """Compares as many whole tokens as both have. True when there may be more to do."""
        self._drop(leading(self._answer), leading(self._text))
        answer = self._answer if self._answer_ended else self._answer[: _whole(self._answer)]
        text = self._text if self._text_ended else self._text[: _whole(self._text)]
        expected, got = answer.split(), text.split()
        count = min(len(expected), len(got))
        if count:
            wrong = self._first_wrong(expected[:count], got[:count])
            count = count if wrong is None else wrong
            self._drop(_start(answer, count), _start(text, count))
            if wrong is not None:
                self._reject_token(expected[wrong], got[wrong])
            return True
        if not self._text and not self._text_ended:
            return False
        if not self._answer and not self._answer_ended:
            self._pull(AHEAD_BYTES)
            return True
        if not self._answer or not self._text:
            return self._compare_end()
        return self._compare_heads()

    def _compare_end(self) -> bool:
        """One side has no more tokens. True when there may be more to do."""
        if self._text and _head(self._text) == len(self._text) <= SHOWN and not self._text_ended:
            return False
        if self._text:
            self._reject(f"trailing output {quote(self._text.split(None, 1)[0])}")
        elif self._answer:
            self._reject(f"the output ends, expected {quote(self._answer.split(None, 1)[0])}")
        self._all_compared = self._text_ended
        return False

    def _compare_heads(self) -> bool:
        """Both begin with a token, and one of the two at least has no end yet. True when there may be more to do."""
        expected, got = _head(self._answer), _head(self._text)
        text_open = got == len(self._text) and not self._text_ended
        answer_open = expected == len(self._answer) and not self._answer_ended
        if text_open and got <= MAX_TOKEN_BYTES:
            return False
        if answer_open and expected <= MAX_TOKEN_BYTES:
            self._pull(len(self._answer) + AHEAD_BYTES)
            return True
        if min(expected, got) <= MAX_TOKEN_BYTES:
            self._reject_token(self._answer[:expected], self._text[:got])
            return False
        self._inside = True
        return True

    def _compare_inside(self) -> bool:
        """Compares a long token in parts. True when there may be more to do."""
        self._pull(len(self._text) or 1)
        expected, got = _head(self._answer), _head(self._text)
        size = min(expected, got)
        if not self._same_string(self._answer[:size], self._text[:size]):
            self._reject_token(self._answer[:expected], self._text[:got])
            return False
        self._drop(size, size)
        if not self._text and not self._text_ended:
            return False
        if not self._answer and not self._answer_ended:
            return True
        if expected != got:
            self._reject_token(self._answer[: expected - size], self._text[: got - size])
            return False
        self._inside = False
        return True

    def _compare_spaced(self) -> bool:
        """Compares tokens, each with the one byte of white space after it; an empty token stands between two of those.

        The last token is followed by the end, which only equals the end. True when there may be more to do.
        """
        expected, got = _pairs(self._answer, self._answer_ended), _pairs(self._text, self._text_ended)
        size = min(len(expected), len(got))
        if size == 0:
            return self._compare_heads()
        expected, got = expected[:size], got[:size]
        wrong = self._first_wrong(expected[::2], got[::2])
        same = size if wrong is None else 2 * wrong
        space = next((index for index in range(1, same, 2) if expected[index] != got[index]), None)
        same = same if space is None else space
        self._drop(sum(map(len, expected[:same])), sum(map(len, got[:same])))
        if space is not None:
            self._reject(f"white space: expected {quote(expected[space])}, got {quote(got[space])}")
        elif wrong is not None:
            self._reject_token(expected[2 * wrong], got[2 * wrong])
        self._all_compared = not expected[-1]
        return True

    def _first_wrong(self, expected: list[bytes], got: list[bytes]) -> int | None:
        """The index of the first token that is not accepted. Both lists have the same length."""
        if expected == got:
            return None
        values, came = (_plain_numbers(expected), _plain_numbers(got)) if self._floats else ([], [])
        if values and came:
            pairs = enumerate(zip(values, came, strict=True))
            doubtful = [index for index, (value, number) in pairs if not self._within(value, number)]
        else:
            doubtful = [index for index, token in enumerate(expected) if token != got[index]]
        return next((index for index in doubtful if not self._same(expected[index], got[index])), None)

    def _same(self, expected: bytes, got: bytes) -> bool:
        value = floating(expected) if self._floats else None
        if value is None:
            return self._same_string(expected, got)
        came = floating(got)
        return came is not None and self._within(value, came)

    def _within(self, value: float, came: float) -> bool:
        error = abs(came - value)
        return error <= self._absolute or error <= self._relative * abs(value)

    def _same_string(self, expected: bytes, got: bytes) -> bool:
        return expected == got or (not self._options.case_sensitive and expected.lower() == got.lower())

    def _reject_token(self, expected: bytes, got: bytes) -> None:
        value = floating(expected) if self._floats else None
        came = None if value is None else floating(got)
        if value is None:
            self._reject(difference(expected, got))
        elif came is None:
            self._reject(f"expected the number {quote(expected)}, got {quote(got)}")
        else:
            error = abs(came - value)
            relative = f", relative error {error / abs(value):.6e}" if value else ""
            self._reject(f"expected {quote(expected)}, got {quote(got)}: absolute error {error:.6e}{relative}")


def _plain_numbers(tokens: list[bytes]) -> list[float]:
    """The values where all tokens are decimal numbers that a double holds; else an empty list. Quicker than one by one:
    of tokens of these characters alone, float() takes the same as _DECIMAL."""
    if b"".join(tokens).translate(None, b"0123456789+-.eE") or max(map(len, tokens)) > MAX_TOKEN_BYTES:
        return []
    try:
        values = list(map(float, tokens))
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def _whole(text: bytes) -> int:
    """The length of `text` up to its last white space: the front with no token that may still grow."""
    for start in (max(0, len(text) - 64), 0):  # the end first: few tokens are longer
        last = max(text.rfind(space, start) for space in (b" ", b"\n", b"\r", b"\t", b"\v", b"\f"))
        if last >= 0:
            return last + 1
    return 0


def _head(text: bytes) -> int:
    """The length of the token that `text` begins with, 0 where it begins with white space."""
    found = _TOKEN.match(text)
    return found.end() if found else 0


def _start(text: bytes, count: int) -> int:
    """Where the token after the first `count` ones begins; the length of `text` where there are no more."""
    parts = text.split(None, count)
    return len(text) - len(parts[count]) if len(parts) > count else len(text)


def _pairs(text: bytes, ended: bool) -> list[bytes]:
    """Token, white space, token, white space; at the end the last token and b""."""
    parts = _SPACE.split(text)
    return [*parts, b""] if ended else parts[:-1]
