"""Any files that a request may have are unpacked by jail.c as they were packed, each in its place and nothing beside."""

import itertools
import os
import pathlib
import struct
import subprocess
import tempfile

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from daemon.judge.files import NAME_BYTES, BadName, File, check_name, check_together, pack, packed_files
from daemon.sandbox.descriptors import memfd

one_build = pytest.mark.parametrize("built", ["sanitized"], indirect=True)
PARTS = st.text("ab.~ é-@\u202e", min_size=1, max_size=4) | st.sampled_from(["a", "b", "...", "é" * 127, "x" * 255])
NAMES = st.lists(PARTS, min_size=1, max_size=16).map("/".join)
CONTENTS = st.binary(max_size=50) | st.sampled_from([b"", bytes(5000)])
FILES = st.lists(st.builds(File, NAMES, CONTENTS), max_size=6).map(tuple)
HEADS = st.builds(struct.pack, st.just("<IIQ"), st.integers(0, 12), st.just(0), st.integers(0, 12) | st.just(1 << 63))
PACKED = st.lists(HEADS | st.sampled_from([b"a", b"a/b", b"ab\0", b"/"]), max_size=8).map(b"".join)


def content_of(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)


def unpack(built: list[str], folder: pathlib.Path, packed: bytes) -> str:
    """What the real reader says, whose working directory the folder is."""
    done = subprocess.run([*built, "files"], input=packed, capture_output=True, cwd=folder, timeout=60, check=True)
    return done.stdout.decode().strip()


@pytest.mark.threat("F3")
@one_build
@given(files=FILES)
@example(files=(File("/".join("x" * 63 for _ in range(16)), b"deep"), File("x" * 255, b"long")))
def test_any_files_are_unpacked_as_they_were_packed(built: list[str], files: tuple[File, ...]) -> None:
    try:
        for file in files:
            check_name(file.name)
        check_together(files, set())
    except BadName:
        assume(False)
    packed = content_of(pack(files))
    with tempfile.TemporaryDirectory() as root:
        work = pathlib.Path(root, "work")
        work.mkdir()
        assert unpack(built, work, packed) == "unpacked"
        found = {path.relative_to(root): path.read_bytes() for path in pathlib.Path(root).rglob("*") if path.is_file()}
    assert found == {pathlib.Path("work", file.name): file.content for file in files}


@one_build
@given(packed=PACKED)
def test_any_bytes_are_unpacked_or_refused_by_jail_c_and_by_us(built: list[str], packed: bytes) -> None:
    """What is taken here of what a jail has packed lies within it, and its names have no NUL and no way out."""
    with tempfile.TemporaryDirectory() as root:
        said = unpack(built, pathlib.Path(root), packed)
    assert said in ("unpacked", "EINVAL", "EEXIST", "ENOTDIR", "EISDIR", "ENOENT")
    descriptor = memfd("packed", packed)
    try:
        found = list(packed_files(descriptor))
    except OSError:
        return
    finally:
        os.close(descriptor)
    for file, after in itertools.pairwise(found):
        assert file.end == after.start
    assert all(0 < len(os.fsencode(file.name)) <= NAME_BYTES and file.end <= len(packed) for file in found)
