"""Comparison of a program's output with the expected answer: as a stream, in bounded memory.

Pure: no clock, no descriptor, no task; the answer is anything with a `read`. An output that equals the answer costs one
memcmp a piece. What differs is looked at closer, in windows of two pieces at most, and then memcmp has its turn again.
"""

import abc
import dataclasses
from typing import Protocol

PIECE_BYTES = 1 << 16  # of the output, compared at once
AHEAD_BYTES = 1 << 12  # of the answer, read at once where it lags behind
SHOWN = 100  # characters of what was expected, and of what came, in a message
BLANKS = b" \t\r\v\f"


class Readable(Protocol):
    """A binary file, a BytesIO. `read` gives at most `size` bytes and b"" only at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """`message` is for a judge: it quotes the answer. ASCII without control characters, empty where accepted."""

    accepted: bool
    message: str = ""


class Comparer(abc.ABC):
    """One comparison: `feed` the output in chunks of any size, then `end` once. Errors of `expected.read` pass through.

    Holds some 64 KiB of each side, however long a line or a token is. `expected` is read forwards only, from where it
    stands, never far ahead of the output, and not to its end where the output is rejected before.
    """

    def __init__(self, expected: Readable) -> None:
        self._expected = expected
        self._answer = b""  # read and not yet compared
        self._answer_ended = False
        self._text = b""  # fed and not yet compared
        self._text_ended = False
        self._line = 1  # where _text begins in the output
        self._column = 1
        self._message: str | None = None

    @property
    def rejected(self) -> bool:
        """True from the first difference on; what is fed after it is not looked at."""
        return self._message is not None

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of the output. Does not keep `chunk`."""
        if len(chunk) <= PIECE_BYTES:
            self._take(bytes(chunk))
            return
        view = memoryview(chunk)
        for start in range(0, len(chunk), PIECE_BYTES):
            self._take(bytes(view[start : start + PIECE_BYTES]))

    def end(self) -> Comparison:
        """Says that the output ended, and answers. The same answer each time."""
        self._text_ended = True
        if not self.rejected:
            self._compare()
        return Comparison(self._message is None, self._message or "")

    @abc.abstractmethod
    def _compare(self) -> None:
        """Compares and drops as much as can be decided; all of it once the text ended."""

    def _take(self, piece: bytes) -> None:
        if not self.rejected and piece:
            self._text = self._text + piece if self._text else piece
            self._compare()

    def _pull(self, size: int) -> None:
        """Holds `size` bytes of the answer at least, or all the rest of it."""
        while len(self._answer) < size and not self._answer_ended:
            more = self._expected.read(size - len(self._answer))
            self._answer_ended = not more
            self._answer = self._answer + more if self._answer else more

    def _drop(self, answer_bytes: int, text_bytes: int) -> None:
        """Drops what is compared from both sides, and knows where in the output the rest begins."""
        self._answer = self._answer[answer_bytes:]
        lines = self._text.count(b"\n", 0, text_bytes)
        self._line += lines
        self._column = text_bytes - self._text.rfind(b"\n", 0, text_bytes) if lines else self._column + text_bytes
        self._text = self._text[text_bytes:]

    def _reject(self, what: str) -> None:
        """The difference is where _text begins."""
        self._message = f"line {self._line}, column {self._column}: {what}"


class Exact(Comparer):
    """Byte for byte."""

    def _compare(self) -> None:
        self._pull(len(self._text))
        if self._answer.startswith(self._text):
            self._drop(len(self._text), len(self._text))
            if self._text_ended:
                self._pull(SHOWN)
                if self._answer:
                    self._reject(f"the output ends, expected {quote(self._answer)}")
            return
        same = common(self._answer, self._text)
        if len(self._text) - same < SHOWN and not self._text_ended:
            return  # until the message can show what came
        self._drop(same, same)
        self._pull(SHOWN)
        expected, got = self._answer[:SHOWN], self._text[:SHOWN]
        self._reject(difference(expected, got) if expected else f"trailing output {quote(got)}")


class Lines(Comparer):
    """Line by line. Blanks (space, tab, CR, VT, FF) before the end of a line and blank lines at the end do not count.

    A line ends with LF or with the file. Blanks anywhere else and blank lines between others do count.
    """

    def __init__(self, expected: Readable) -> None:
        super().__init__(expected)
        self._tails = False  # the lines were equal so far, and nothing but blanks may come before their ends

    def _compare(self) -> None:
        while not self.rejected and (self._compare_tails() if self._tails else self._compare_lines()):
            pass

    def _compare_lines(self) -> bool:
        """Compares from the same place of the same line. True when there may be more to do."""
        self._pull(len(self._text))
        if self._answer.startswith(self._text):
            self._drop(len(self._text), len(self._text))
            self._tails = self._text_ended
            return self._text_ended
        answer, text = self._answer.split(b"\n"), self._text.split(b"\n")
        count = min(len(answer), len(text)) - 1  # what follows the last LF is no whole line yet
        if count == 0:
            return self._compare_parts(answer[0], text[0])
        expected = [line.rstrip(BLANKS) for line in answer[:count]]
        got = [line.rstrip(BLANKS) for line in text[:count]]
        if expected != got:
            count = next(index for index in range(count) if expected[index] != got[index])
        self._drop(sum(map(len, answer[:count])) + count, sum(map(len, text[:count])) + count)
        if count < len(expected):
            same = common(expected[count], got[count])
            self._drop(same, same)
            self._reject(difference(expected[count][same:], got[count][same:]))
        return True

    def _compare_parts(self, answer: bytes, text: bytes) -> bool:
        """Compares two lines where the end of one at least is not here: a long one, or the last one."""
        same = common(answer, text)
        self._drop(same, same)
        if not self._text and not self._text_ended:
            return False
        if self._answer or self._answer_ended:
            self._tails = True
        else:
            self._pull(AHEAD_BYTES)
        return True

    def _compare_tails(self) -> bool:
        """Passes blanks on both sides, then the ends of both lines. True when there may be more to do."""
        blanks, text_blanks = leading(self._answer, BLANKS), leading(self._text, BLANKS)
        answer, text = self._answer[blanks:], self._text[text_blanks:]
        if not answer and not self._answer_ended:
            self._drop(blanks, 0)
            self._pull(AHEAD_BYTES)
            return True
        if len(text) < SHOWN and b"\n" not in text and not self._text_ended and (text or text_blanks < SHOWN):
            return False  # a message could not yet show what came
        if not answer or (not text and self._text_ended):
            return self._compare_blank_lines()
        if answer[:1] == b"\n" and text[:1] in (b"", b"\n"):
            self._drop(blanks, text_blanks)
            self._tails = not text
            self._drop(len(text[:1]), len(text[:1]))
            return bool(text)
        self._reject(difference(self._answer.split(b"\n")[0], self._text.split(b"\n")[0]))
        return False

    def _compare_blank_lines(self) -> bool:
        """One side ended: the other may have nothing but blank lines. True when there may be more to do."""
        self._drop(leading(self._answer), leading(self._text))
        if self._answer:
            self._reject(f"the output ends, expected {quote(self._answer.splitlines()[0])}")
        elif self._text:
            self._reject(f"trailing output {quote(self._text.splitlines()[0])}")
        elif not self._answer_ended:
            self._pull(AHEAD_BYTES)
            return True
        return False


def leading(text: bytes, blanks: bytes | None = None) -> int:
    """The number of `blanks` that `text` begins with; None stands for all white space, LF included."""
    return len(text) - len(text.lstrip(blanks))


def common(one: bytes, other: bytes) -> int:
    """The length of the common prefix, by memcmp of halves."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def quote(text: bytes) -> str:
    """`text` in quotes, at most SHOWN characters of it, cut at the end; ASCII, the rest as \\n, \\x00, \\xff."""
    if not text:
        return "nothing"
    shown = repr(text[: SHOWN + 1])[2:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{shown}"' if len(shown) <= SHOWN else f'"{shown[: SHOWN - 3]}..."'


def difference(expected: bytes, got: bytes) -> str:
    """One sentence. Of two long texts it shows where they differ."""
    same = common(expected, got)
    start = same - SHOWN // 4 if same > SHOWN // 2 else 0
    place = f"from byte {start + 1} of it " if start else ""
    return f"{place}expected {quote(expected[start:])}, got {quote(got[start:])}"
