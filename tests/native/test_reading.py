"""What jail.c reads from others: descriptions, go messages and packed files, with the sanitizers and on aarch64."""

import pathlib
import struct

import pytest

from daemon.sandbox.messages import GO_ARTIFACT, GO_HEAD, GO_INPUT, GO_JOINS, GO_SOURCE, LEAVES_MAX, MAX_BYTES, Go
from daemon.sandbox.plan import StepPlan, Warm
from daemon.warden import description

from . import player
from .conftest import Harness

FUZZ_SECONDS, SEED = 3, 20261127
FILTER = bytes(range(16))
STEP = player.step("step", ("/usr/bin/true",), Warm.EXEC, source_name="main.py", leaves=("made",))
HEAD_FIELDS = [
    "bytes",
    "start",
    "instructions",
    "arguments",
    "variables",
    "leaves",
    "stack",
    "files",
    "open",
    "scratch",
    "inodes",
    "pipe",
]


def described(warm: Warm = Warm.EXEC, argv: tuple[str, ...] = (), step: StepPlan = STEP) -> bytes:
    return description.encode(step, warm, argv, FILTER)


def test_description_is_read_as_it_was_written(harness: Harness) -> None:
    shown = harness("description", given=described(Warm.PRELOAD, ("/usr/bin/true", "", "ü")))
    assert shown.splitlines() == [
        "start: 3",
        "filter: 2",
        "names: main.py, , made",
        "limits: 8388608 67108864 256",
        "scratch: 16777216 256",
        "argv: /usr/bin/true  ü",
        "environment: PATH=/usr/bin:/bin HOME=/work LANG=C.UTF-8 CELLBLOCK_GATE=3 CELLBLOCK_END=4",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bytes", 63), ("bytes", 1 << 31), ("start", 0), ("start", 5), ("start", 3), ("instructions", 0),
        ("instructions", 4097), ("instructions", 1 << 29), ("arguments", 1), ("arguments", 1 << 31), ("variables", 2),
        ("variables", 4), ("variables", 300), ("leaves", 5), ("stack", 0), ("open", 0), ("scratch", 0), ("inodes", 0),
    ],
)  # fmt: skip
def test_description_with_a_field_out_of_range_is_refused(harness: Harness, field: str, value: int) -> None:
    data = described()
    fields = dict(zip(HEAD_FIELDS, description.HEAD.unpack_from(data), strict=True))
    assert fields[field] != value
    changed = description.HEAD.pack(*{**fields, field: value}.values()) + data[description.HEAD.size :]
    assert harness("description", given=changed) == "refused: Invalid argument\n"


@pytest.mark.parametrize("name", ["a/b", ".", "..", "x" * 256])
def test_description_with_a_name_that_is_a_path_is_refused(harness: Harness, name: str) -> None:
    step = player.step("step", ("/usr/bin/true",), Warm.EXEC, takes_artifact=name)
    assert harness("description", given=described(step=step)) == "refused: Invalid argument\n"


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 70, -1])
def test_description_that_is_cut_is_refused(harness: Harness, cut: int) -> None:
    assert harness("description", given=described()[:cut]) == "refused: Invalid argument\n"


def test_go_is_read_as_it_was_written(harness: Harness) -> None:
    data = Go(source=True, artifact=False, files=True, strings=("one", "", "ü")).encode()
    assert harness("go", "1", "", "2", given=data) == "strings: one  ü\n"


def test_what_a_run_leaves_is_told_apart_from_its_arguments(harness: Harness) -> None:
    data = Go(True, False, False, ("one",), leaves=("a", "b/c")).encode()
    assert harness("go", "1", "", "1", given=data) == "strings: one\nleft: a b/c\n"
    assert harness("go", "2", "", "1", given=data) == "refused: Protocol error\n"  # a fork has nobody to open them
    for wrong in (("/a",), ("../a",), ("",), ("a",) * (LEAVES_MAX + 1)):
        data = Go(True, False, False, ("one",), leaves=wrong).encode()
        assert harness("go", "1", "", "1", given=data) == "refused: Protocol error\n", wrong
    data = Go(True, False, False, ("one",), leaves=("a", "b/")).encode()
    assert harness("go", "1", "", "1", given=data) == "refused: Is a directory\n"  # steps leave folders, runs do not


def test_input_is_not_for_a_program_that_reads_its_source_there(harness: Harness) -> None:
    data = Go(source=True, artifact=False, files=False, strings=("one",), input=True).encode()
    assert harness("go", "1", "", "2", given=data) == "strings: one\n"
    assert harness("go", "4", "", "2", given=data) == "refused: Protocol error\n"


def test_go_may_be_as_long_as_a_message(harness: Harness) -> None:
    data = Go(True, False, False, ("x" * (MAX_BYTES - GO_HEAD.size - 1),)).encode()
    assert len(harness("go", "1", "", "1", given=data)) > 65000


@pytest.mark.parametrize(
    ("data", "takes", "descriptors"),
    [
        (GO_HEAD.pack(GO_SOURCE, 1, 4, 0, 0) + b"one\0", "", 0),  # fewer descriptors than flags
        (GO_HEAD.pack(GO_SOURCE, 1, 4, 0, 0) + b"one\0", "made", 1),  # the artefact is missing
        (GO_HEAD.pack(GO_SOURCE | GO_ARTIFACT, 1, 4, 0, 0) + b"one\0", "", 2),  # an artefact that it does not take
        (GO_HEAD.pack(GO_SOURCE | 32, 1, 4, 0, 0) + b"one\0", "", 2),  # an unknown flag
        (GO_HEAD.pack(GO_SOURCE | GO_JOINS, 1, 4, 0, 0) + b"one\0", "", 1),  # a group to join, and no descriptor of it
        (GO_HEAD.pack(GO_SOURCE | GO_INPUT, 1, 4, 0, 0) + b"one\0", "", 1),  # an input, and no descriptor of it
        (GO_HEAD.pack(GO_JOINS, 1, 4, 0, 0) + b"one\0", "", 1),  # the source is missing
        (GO_HEAD.pack(GO_SOURCE, 2, 4, 0, 0) + b"one\0", "", 1),  # fewer strings
        (GO_HEAD.pack(GO_SOURCE, 1, 8, 0, 0) + b"one\0two\0", "", 1),  # more strings
        (GO_HEAD.pack(GO_SOURCE, 1, 3, 0, 0) + b"one", "", 1),  # no NUL
        (GO_HEAD.pack(GO_SOURCE, 1, 5, 0, 0) + b"one\0", "", 1),  # longer than it is
        (GO_HEAD.pack(GO_SOURCE, 0, 0, 0, 0), "", 1),  # no command
        (GO_HEAD.pack(GO_SOURCE, 1, 4, 1, 0) + b"one\0", "", 1),  # no command before what is left
        (GO_HEAD.pack(GO_SOURCE, 1, 4, 2, 0) + b"one\0", "", 1),  # more is left than there are strings
        (b"short", "", 0),
        (b"", "", 0),
    ],
)
def test_go_that_is_not_for_this_jail_is_refused(harness: Harness, data: bytes, takes: str, descriptors: int) -> None:
    assert harness("go", "1", takes, str(descriptors), given=data) == "refused: Protocol error\n"


def test_files_are_unpacked_or_refused_whole(harness: Harness, tmp_path: pathlib.Path) -> None:
    def packed(name: bytes, content: bytes, size: int | None = None) -> bytes:
        return struct.pack("<IIQ", len(name), 0, len(content) if size is None else size) + name + content

    assert harness("files", given=packed(b"a/b/c", b"deep") + packed(b"a/d", b"")) == "unpacked\n"
    assert (tmp_path / "a/b/c").read_bytes() == b"deep"
    for bad in (
        packed(b"cut", b"x", 2),
        packed(b"/x", b""),
        packed(b"a\0b", b""),
        packed(b"", b""),
        packed(b"x", b"", 1 << 63),
    ):
        assert harness("files", given=bad) == "EINVAL\n"
    assert harness("files", given=packed(b"a/d", b"")) == "EEXIST\n"


def test_program_that_is_not_there_does_not_start(harness: Harness) -> None:
    assert harness("spawn") == "did not start\n"


@pytest.mark.slow
def test_random_changes_never_make_it_read_beyond_its_bytes(harness: Harness, built: list[str]) -> None:
    seconds = FUZZ_SECONDS if len(built) == 1 else 1
    given = described(Warm.PRELOAD, ("/usr/bin/true", "argument"))
    assert harness("fuzz", str(SEED), str(seconds), given=given).startswith("tried ")


# -- what writes them


def test_description_with_a_command_for_a_program_that_starts_at_go_is_refused() -> None:
    with pytest.raises(ValueError, match="a command of 1 strings"):
        described(Warm.EXEC, ("/usr/bin/true",))
    with pytest.raises(ValueError, match="a command of 0 strings"):
        described(Warm.STDIN)


@pytest.mark.parametrize("filter_program", [b"", b"x" * 7, b"x" * 8 * 4097])
def test_description_with_a_filter_that_is_none_is_refused(filter_program: bytes) -> None:
    with pytest.raises(ValueError, match="a filter of"):
        description.encode(STEP, Warm.EXEC, (), filter_program)


def test_environment_depends_on_how_the_program_starts() -> None:
    step = player.step("step", ("/x",), Warm.EXEC, start_environment={"EARLY": "1"})
    assert b"EARLY" not in described(Warm.EXEC, (), step)
    assert b"EARLY=1\0" in described(Warm.STDIN, ("/x",), step)
    assert b"CELLBLOCK_GATE" not in described(Warm.STDIN, ("/x",), step)
    assert b"HOME" not in described(Warm.FORK, (), step)
