"""Files beside a source: those that are put over others win, whatever the others are called."""

import os

import pytest

from daemon.judge.files import Above, File, pack, packed_files
from daemon.sandbox.descriptors import memfd


def packed(*names: str, beside: tuple[int, ...] = ()) -> int:
    return pack(tuple(File(name, name.encode() * 3) for name in names), *beside)


def names(descriptor: int) -> list[str]:
    try:
        return [file.name for file in packed_files(descriptor)]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("below", "above", "left"),
    [
        (["a", "b"], [], ["a", "b"]),
        (["a", "b"], ["c"], ["a", "b", "c"]),
        (["a", "b"], ["a"], ["b", "a"]),
        (["a/x", "a/y/z", "b"], ["a"], ["b", "a"]),
        (["a", "ab", "b"], ["a/x"], ["ab", "b", "a/x"]),
        (["a/x", "a/y"], ["a/x"], ["a/y", "a/x"]),
        (["é" * 500], ["b"], ["é" * 500, "b"]),
    ],
)
def test_what_is_in_the_way_is_left_out(below: list[str], above: list[str], left: list[str]) -> None:
    beside = packed(*below)
    both = packed(*above, beside=(beside,))
    os.close(beside)
    content = os.pread(both, 1 << 16, 0)
    assert all(name.encode() * 3 in content for name in left)
    assert names(both) == left
    assert [name for name in below if not Above(above).replaces(name)] + above == left


def test_of_several_that_are_packed_the_last_wins() -> None:
    first, second = packed("a", "b/x", "c"), packed("b", "a", "d")
    assert names(pack((File("d", b""),), first, None, second)) == ["c", "b", "a", "d"]
    os.close(first)
    os.close(second)


def test_what_a_compiler_packed_badly_is_an_error() -> None:
    whole = packed("a", "b")
    content = os.pread(whole, 1000, 0)
    os.close(whole)
    for bad in (content[:-1], content + b"x", b"\0" * 16, b"\xff" * 16, b"\1\0\0\0" * 4 + b"x"):
        beside = memfd("bad", bad)
        with pytest.raises(OSError, match="cut"):
            packed("c", beside=(beside,))
        os.close(beside)
