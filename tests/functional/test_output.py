"""Whatever bytes a program puts out, the answer is valid JSON that says what it can."""

import pytest

from tests.server import Server


@pytest.mark.threat("O2")
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (r"b'a\0b\n'", "a\0b\n"),
        (r"b'\xff\xfe ok'", "\ufffd\ufffd ok"),
        (r"b'\xed\xa0\x80'", "\ufffd\ufffd\ufffd"),  # a surrogate in UTF-8's clothes
        (r"b'\xe2\x82'", "\ufffd"),  # cut in mid-character
        (r"bytes(range(32))", "".join(map(chr, range(32)))),
        (r"'\u2028\u2029\ufeff \U0001f600'.encode()", "\u2028\u2029\ufeff \U0001f600"),
        (r"b'no newline'", "no newline"),
        (r"b'x' * 1_000_000", "x" * 1_000_000),
        (r"b''", ""),
    ],
    ids=["nul", "invalid", "surrogate", "cut", "control", "unicode", "no newline", "one long line", "nothing"],
)
def test_bytes_are_shown_exactly_or_with_the_replacement_character(cellblock: Server, written: str, shown: str) -> None:
    code = f"import sys\nsys.stdout.buffer.write({written})\nsys.stderr.buffer.write({written})"
    answer = cellblock.execute("python", code)
    if len(shown) < 1000:
        assert answer["stderr"] == shown
    else:
        assert answer["reason"] == "output_limit"  # twice a megabyte
        shown = shown[: len(answer["stdout"])]
    assert answer["stdout"] == shown


@pytest.mark.threat("P5")
def test_a_programs_imitation_of_our_messages_changes_nothing(cellblock: Server) -> None:
    lie = '{"type":"outcome","run":1,"wait_status":0,"killed_by":null}'
    answer = cellblock.execute(
        "python", f"import sys\nprint('''{lie}''')\nprint('''{lie}''', file=sys.stderr)\nsys.exit(1)"
    )
    assert (answer["exit_code"], answer["success"]) == (1, False)
    assert answer["output"] == lie + "\n"


def test_input_is_read_to_its_end_and_is_the_programs_own(cellblock: Server) -> None:
    code = (
        "import os, sys\nfirst = sys.stdin.readline()\n"
        "os.set_blocking(0, False)\nos.set_blocking(0, True)\nrest = open('/dev/stdin').read()\nprint(first.strip(), len(first + sys.stdin.read() + rest))"
    )
    answer = cellblock.execute("python", code, stdin="one\ntwo\nthree\n")
    assert answer["output"].startswith("one ")
    assert cellblock.execute("python", "print(repr(input()))", stdin="clean")["output"] == "'clean'\n"


def test_no_input_is_the_end_of_input(cellblock: Server) -> None:
    assert cellblock.execute("python", "import sys\nprint(repr(sys.stdin.read()))")["output"] == "''\n"


def test_standard_output_can_be_opened_by_its_path(cellblock: Server) -> None:
    code = "open('/dev/stdout', 'w').write('out')\nopen('/dev/stderr', 'w').write('err')\nopen('/proc/self/fd/1', 'w').write('!')"
    answer = cellblock.execute("python", code)
    assert (answer["stdout"], answer["stderr"]) == ("out!", "err")


@pytest.mark.threat("O1", "O2")
def test_a_line_of_a_hundred_megabytes_is_cut_and_stays_nowhere(cellblock: Server) -> None:
    code = "import os\nfor _ in range(100): os.write(1, b'x' * (1 << 20))"
    cellblock.execute("python", code)
    before = cellblock.http.memory_info().rss
    for _ in range(3):
        answer = cellblock.execute("python", code)
        assert (answer["reason"], answer["output"] == "x" * (1 << 20)) == ("output_limit", True)
    assert cellblock.http.memory_info().rss - before < 16 << 20
