"""A program's output is compared with the answer as a stream: exactly, by lines, and by tokens as the ICPC validator."""

import io
import random
import re
from collections.abc import Callable

import pytest

from daemon.grading import compare, tokens
from daemon.grading.compare import Comparer, Comparison, Exact, Lines
from daemon.grading.tokens import TokenOptions, Tokens, floating

WORDS = [
    b"1",
    b"1.0",
    b"0x1",
    b"12",
    b"12.5",
    b"abc",
    b"ABC",
    b"inf",
    b"INF",
    b"nan",
    b"-0",
    b"0",
    b"1e999",
    b"1_0",
    b"1e",
]
WORDS += [b"x" * 40, b"X" * 40, b"1" * 40, b"\xc3\xa9", b"\xc3\x89", b"\0", b"1.0001", b".5", b"5.e-1"]
SPACES = [b" ", b"\n", b"  ", b"\r\n", b"\t", b"\v", b"\f", b"\n\n", b" \n", b" " * 30, b"\n" * 30]
SPACE = re.compile(rb"[ \t\n\v\f\r]+")


class Sparing:
    """A file that gives fewer bytes than are asked for, and counts them."""

    def __init__(self, content: bytes, chance: random.Random) -> None:
        self._file = io.BytesIO(content)
        self._chance = chance

    def read(self, size: int, /) -> bytes:
        assert size > 0
        return self._file.read(self._chance.randrange(1, size + 1))


def compared(
    make: Callable[[compare.Readable], Comparer], answer: bytes, output: bytes, chance: random.Random | None = None
) -> Comparison:
    """Feeds `output` whole, or in random chunks against an answer that comes in random parts."""
    comparer = make(Sparing(answer, chance) if chance else io.BytesIO(answer))
    start = 0
    while start < len(output):
        end = start + chance.randrange(1, 20) if chance else len(output)
        comparer.feed(output[start:end])
        start = end
    result = comparer.end()
    assert result == comparer.end()
    assert result.accepted is not comparer.rejected
    assert result.message.isascii() and result.message.isprintable() and bool(result.message) is not result.accepted
    return result


def with_options(options: TokenOptions) -> Callable[[compare.Readable], Comparer]:
    return lambda expected: Tokens(expected, options)


def by_exact(answer: bytes, output: bytes) -> bool:
    return answer == output


def by_lines(answer: bytes, output: bytes) -> bool:
    return lines_that_count(answer) == lines_that_count(output)


def lines_that_count(text: bytes) -> list[bytes]:
    return [line.rstrip(b" \t\r\v\f") for line in text.rstrip().split(b"\n")]


def by_tokens(answer: bytes, output: bytes, options: TokenOptions) -> bool:
    if options.space_change_sensitive and SPACE.findall(answer) != SPACE.findall(output):
        return False
    if options.space_change_sensitive and answer[:1].isspace() is not output[:1].isspace():
        return False
    expected, got = answer.split(), output.split()
    return len(expected) == len(got) and all(same(*pair, options) for pair in zip(expected, got, strict=True))


def same(expected: bytes, got: bytes, options: TokenOptions) -> bool:
    if options.relative is not None or options.absolute is not None:
        value, came = floating(expected), floating(got)
        if value is not None:
            absolute = -1.0 if options.absolute is None else options.absolute
            relative = -1.0 if options.relative is None else options.relative
            return came is not None and (abs(came - value) <= absolute or abs(came - value) <= relative * abs(value))
    return expected == got if options.case_sensitive else expected.lower() == got.lower()


def random_text(words: list[bytes], chance: random.Random) -> bytes:
    text = chance.choice(SPACES) if chance.random() < 0.2 else b""
    for index, word in enumerate(words):
        last = index == len(words) - 1
        text += word + (b"" if last and chance.random() < 0.3 else chance.choice(SPACES))
    return text


def random_pair(chance: random.Random) -> tuple[bytes, bytes]:
    """An answer, and an output that is equal to it or nearly so."""
    words = [chance.choice(WORDS) for _ in range(chance.randrange(12))]
    answer = random_text(words, chance)
    output = answer if chance.random() < 0.5 else random_text(words, chance)
    for _ in range(chance.choice([0, 0, 1, 2])):
        place = chance.randrange(len(output) + 1)
        match chance.randrange(4):
            case 0:
                output = output[:place] + output[place + 1 :]
            case 1:
                output = output[:place] + chance.choice(WORDS + SPACES) + output[place:]
            case 2:
                output = output[:place].swapcase() + output[place:]
            case _:
                output = output[:place] + chance.choice(SPACES)
    return answer, output


@pytest.fixture(params=[1 << 16, 7], ids=["usual windows", "small windows"])
def windows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows let short texts cross all their edges. A long token is one of more than 32 bytes then."""
    if request.param == 7:
        monkeypatch.setattr(compare, "PIECE_BYTES", 7)
        monkeypatch.setattr(compare, "AHEAD_BYTES", 3)
        monkeypatch.setattr(tokens, "AHEAD_BYTES", 3)
        monkeypatch.setattr(tokens, "MAX_TOKEN_BYTES", 32)


@pytest.mark.parametrize("kind", ["exact", "lines", "tokens"])
@pytest.mark.usefixtures("windows")
def test_a_stream_is_judged_as_the_whole_text(kind: str) -> None:
    """Random texts in random chunks get the verdict that a simple comparison of the whole texts gives."""
    chance = random.Random(kind)
    accepted = 0
    for _ in range(3000):
        answer, output = random_pair(chance)
        if kind == "tokens":
            tolerance = {"float_tolerance": 1e-3}, {"float_relative_tolerance": 0.1}, {"float_absolute_tolerance": 0.0}
            chosen = chance.choice(
                [{}, {}, *tolerance, {"float_relative_tolerance": 0.0, "float_absolute_tolerance": 0.5}]
            )
            case, space = chance.random() < 0.3, chance.random() < 0.4
            options = TokenOptions(case_sensitive=case, space_change_sensitive=space, **chosen)
            expected, make = by_tokens(answer, output, options), with_options(options)
        else:
            expected, make = (
                (by_exact if kind == "exact" else by_lines)(answer, output),
                Exact if kind == "exact" else Lines,
            )
        for stream in (None, chance):
            assert compared(make, answer, output, stream).accepted is expected, (answer, output, make)
        accepted += expected
    assert 500 < accepted < 2500


@pytest.mark.parametrize(
    ("answer", "output", "accepted"),
    [
        (b"", b"", True),
        (b"1\n", b"1\n", True),
        (b"1\n", b"1", False),
        (b"1", b"1\n", False),
        (b"1 \n", b"1\n", False),
        (b"", b"\n", False),
    ],
)
def test_exact_means_byte_for_byte(answer: bytes, output: bytes, accepted: bool) -> None:
    assert compared(Exact, answer, output).accepted is accepted


@pytest.mark.parametrize(
    ("answer", "output", "accepted"),
    [
        (b"1 2\n", b"1 2", True),
        (b"1 2\n", b"1 2 \t\r\n\n \n", True),
        (b"1 2 \n\n", b"1 2\n", True),
        (b"", b"\n \n\n", True),
        (b" \n", b"", True),
        (b"1 2\n", b"1  2\n", False),
        (b"1 2\n", b" 1 2\n", False),
        (b"1\n\n2\n", b"1\n2\n", False),
        (b"1\n2\n", b"1\n \n2\n", False),
        (b"\n1\n", b"1\n", False),
        (b"a\n", b"A\n", False),
        (b"1\n", b"1\n2\n", False),
        (b"1\n2\n", b"1\n", False),
        (b"1\n", b"1\0\n", False),
    ],
)
@pytest.mark.usefixtures("windows")
def test_lines_ignore_blanks_before_their_ends_and_blank_lines_at_the_end(
    answer: bytes, output: bytes, accepted: bool
) -> None:
    assert compared(Lines, answer, output).accepted is accepted
    assert compared(Lines, answer, output, random.Random(1)).accepted is accepted


@pytest.mark.parametrize(
    ("flags", "answer", "output", "accepted"),
    [
        # The cases of problemtools, tests/default_validator_tests.
        ("case_sensitive", b"Hello", b"Hello", True),
        ("case_sensitive", b"Hello", b"hello", False),
        ("case_sensitive space_change_sensitive float_tolerance 0.5", b"PI is 3.14\n", b"PI is 3.14\n", True),
        ("case_sensitive space_change_sensitive float_tolerance 0.5", b"PI is 1.0\n", b"PI is 2.0\n", False),
        ("", b"Hello World!\n", b"", False),
        ("", b"Hello World!\n", b"\n \n\n ", False),
        ("", b"Hello World!\n", b"Hello \n", False),
        ("", b"Hello World!\n", b"Hello World! checkthis", False),
        ("float_absolute_tolerance 0.5", b"1", b"1.4", True),
        ("float_absolute_tolerance 0.1", b"1", b"1.4", False),
        ("float_relative_tolerance 0.1", b"100", b"105", True),
        ("float_relative_tolerance 0.01", b"100", b"105", False),
        ("float_relative_tolerance 0.01", b"0", b"1", False),
        ("float_tolerance 0.5", b"1", b"1.1", True),
        ("float_tolerance 0.5", b"1", b"1.50001", False),
        ("float_tolerance 0.5", b"inf", b"0", False),
        ("float_absolute_tolerance 0.5", b"1", b"1.4\xf0\x9f\x9a\x80", False),
        ("space_change_sensitive", b"hello\n world", b"hello\n world", True),
        ("space_change_sensitive", b"hello\n world", b"hello\nworld", False),
        ("space_change_sensitive", b"hello\nworld", b"hello\n world", False),
        # The text of 2025-09, "Default output validator specification".
        ("", b"yes 1\n", b"\n\tYES\r\n\v\f1", True),
        ("", b"1.0", b"1", False),
        ("", b"\xc3\xa9", b"\xc3\x89", False),
        ("", b"a\xa0b", b"a b", False),
        ("space_change_sensitive", b"a\n", b"a", False),
        ("space_change_sensitive", b"a", b"a\n", False),
        ("space_change_sensitive", b" a", b"a", False),
        ("space_change_sensitive", b"a b", b"a\tb", False),
        ("space_change_sensitive", b"a b\n", b"A b\n", True),
        ("float_tolerance 1e-6", b"0.0314", b"3.14000000e-2", True),
        ("float_relative_tolerance 0.1 float_absolute_tolerance 1", b"100", b"110", True),
        ("float_relative_tolerance 0.1 float_absolute_tolerance 1", b"1", b"2", True),
        ("float_relative_tolerance 0.1 float_absolute_tolerance 1", b"1", b"2.5", False),
        ("float_tolerance 0", b"1.50", b"15e-1", True),
        ("float_tolerance 0", b"-0.0", b"0", True),
        ("float_tolerance 1", b"word", b"WORD", True),
        ("float_tolerance 1", b"word", b"1", False),
        ("float_tolerance 1", b"1", b"word", False),
        ("float_tolerance 1", b"1", b"nan", False),
        ("float_tolerance 1", b"1", b"inf", False),
        ("float_tolerance 1", b"nan", b"NaN", True),
        ("float_tolerance 1", b"Inf", b"inf", True),
        ("float_tolerance 1", b"inf", b"infinity", False),
        ("float_tolerance 1", b"1e999", b"1E999", True),
        ("float_tolerance 1", b"1", b"1e999", False),
        ("float_tolerance 1", b"1", b"1,0", False),
        ("float_tolerance 1", b"10", b"1_0", False),
        ("float_tolerance 0", b"16", b"0x10", True),
        ("float_tolerance 0", b"0x1.8p1", b"3", True),
        # The reference validator compares up to a NUL; the specification says "identical byte for byte".
        ("", b"a\0b", b"a\0c", False),
    ],
)
@pytest.mark.usefixtures("windows")
def test_tokens_are_compared_as_by_the_default_output_validator(
    flags: str, answer: bytes, output: bytes, accepted: bool
) -> None:
    make = with_options(TokenOptions.of_flags(flags.split()))
    assert compared(make, answer, output).accepted is accepted
    assert compared(make, answer, output, random.Random(1)).accepted is accepted


@pytest.mark.parametrize(
    "text", ["1", "+1", "-1.", ".5", "1e5", "1E+05", "00.10e-3", "9" * 60 + "." + "9" * 60, "0x.8", "0XAp-2"]
)
def test_a_floating_point_token_may_be_written_in_any_way(text: str) -> None:
    assert floating(text.encode()) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "e5",
        "1e",
        "1e+",
        "0x",
        "0x1p",
        "1.2.3",
        "--1",
        "1 ",
        "1_0",
        "inf",
        "nan",
        "1e999",
        "0x1p9999",
        "1" * 400,
    ],
)
def test_no_floating_point_token_is_what_has_no_value(text: str) -> None:
    assert floating(text.encode()) is None


@pytest.mark.parametrize(
    "flags",
    ["float_tolerance", "float_tolerance x", "float_tolerance nan", "float_tolerance -1", "ignore_case", "1e-6"],
)
def test_flags_that_the_validator_does_not_know_are_refused(flags: str) -> None:
    with pytest.raises(ValueError, match=flags.split()[0]):
        TokenOptions.of_flags(flags.split())


def test_a_later_flag_replaces_an_earlier_one() -> None:
    """Flags of a package and of a test group stand one after the other."""
    options = TokenOptions.of_flags(["float_tolerance", "1", "case_sensitive", "float_relative_tolerance", "2"])
    assert options == TokenOptions(case_sensitive=True, float_relative_tolerance=2, float_absolute_tolerance=1)


def test_both_forms_of_a_tolerance_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="excludes"):
        TokenOptions(float_tolerance=1, float_relative_tolerance=1)


@pytest.mark.parametrize(
    ("make", "answer", "output", "message"),
    [
        (Exact, b"1\n2\n", b"1\n3\n", 'line 2, column 1: expected "2\\n", got "3\\n"'),
        (Exact, b"1\n", b"1\n\n", 'line 2, column 1: trailing output "\\n"'),
        (Exact, b"1\n", b"1", 'line 1, column 2: the output ends, expected "\\n"'),
        (Lines, b"1\n2 3\n", b"1\n2  3\n", 'line 2, column 3: expected "3", got " 3"'),
        (Lines, b"1\n2\n", b"1\n", 'line 2, column 1: the output ends, expected "2"'),
        (Lines, b"1\n", b"1\n\n2", 'line 3, column 1: trailing output "2"'),
        (Tokens, b"a\nb \xff", b"a\nb \xfe\x00", 'line 2, column 3: expected "\\xff", got "\\xfe\\x00"'),
        (Tokens, b"a b", b"a\n", 'line 2, column 1: the output ends, expected "b"'),
        (Tokens, b"a", b"a \"'\\", 'line 1, column 3: trailing output "\\"\'\\\\"'),
        (Tokens, b"", b"a", 'line 1, column 1: trailing output "a"'),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_a_message_says_where_and_what(
    make: type[Comparer], answer: bytes, output: bytes, message: str, step: int
) -> None:
    comparer = make(io.BytesIO(answer))
    for start in range(0, len(output), step):
        comparer.feed(output[start : start + step])
    assert comparer.end() == Comparison(False, message)


def test_a_message_tells_the_errors_of_a_number() -> None:
    make = with_options(TokenOptions(float_tolerance=1e-6))
    message = 'line 1, column 3: expected "4", got "5": absolute error 1.000000e+00, relative error 2.500000e-01'
    assert compared(make, b"3 4", b"3 5").message == message
    assert compared(make, b"0", b"5").message.endswith("absolute error 5.000000e+00")
    assert compared(make, b"0", b"x").message == 'line 1, column 1: expected the number "0", got "x"'


def test_a_message_names_white_space_that_differs() -> None:
    make = with_options(TokenOptions(space_change_sensitive=True))
    assert compared(make, b"a b", b"a\tb").message == 'line 1, column 2: white space: expected " ", got "\\t"'


@pytest.mark.parametrize("make", [Exact, Lines, Tokens])
def test_a_message_is_short_and_shows_the_difference(make: type[Comparer]) -> None:
    """Of two long texts that begin alike it shows the place where they part."""
    message = compared(make, b"a" * 3000 + b"X" + b"\0" * 3000, b"a" * 3000 + b"Y" + b"\xff" * 3000).message
    assert "X" in message and "Y" in message and len(message) < 300


@pytest.mark.parametrize("make", [Exact, Lines, Tokens])
@pytest.mark.parametrize(
    "text", [b"x" * 5_000_000, b"x " * 2_500_000, b"x\n" * 2_500_000, b" " * 5_000_000, b"x\xff\0" * 1_700_000]
)
def test_memory_stays_bounded_whatever_the_output_is(make: type[Comparer], text: bytes) -> None:
    """One token, one line or blanks alone of five million bytes: no more than a few windows are held."""
    for answer, output in ((text, text), (text, text + b" "), (text + b" ", text), (text, text[:-1]), (text[1:], text)):
        comparer = make(io.BytesIO(answer))
        for start in range(0, len(output), 100_000):
            comparer.feed(memoryview(output)[start : start + 100_000])
            assert len(comparer._text) + len(comparer._answer) <= 5 << 16
        comparer.end()


def test_nothing_more_of_the_answer_is_read_after_a_difference() -> None:
    answer = io.BytesIO(b"1 " * 1_000_000)
    comparer = Tokens(answer)
    comparer.feed(b"2 ")
    assert comparer.rejected
    comparer.feed(b"1 " * 1_000_000)
    assert not comparer.end().accepted
    assert answer.tell() < 10_000
