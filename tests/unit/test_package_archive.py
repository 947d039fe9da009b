"""A zip is unpacked as it is, or refused whole in one sentence that names the entry."""

import contextlib
import io
import os
import pathlib
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

import pytest

from daemon.grading.packages.archive import ArchiveLimits, unpack
from daemon.grading.packages.refusal import PackageRefused, PackageTooLarge
from tests.small_packages import directory, opened, zip_bytes

LIMITS = ArchiveLimits()
CENTRAL = b"PK\1\2"
LOCAL = b"PK\3\4"


def extract(content: bytes, target: pathlib.Path, limits: ArchiveLimits = LIMITS) -> int:
    with opened(content) as archive, directory(target) as descriptor:
        return unpack(archive, descriptor, limits)


def refusal(content: bytes, target: pathlib.Path, limits: ArchiveLimits = LIMITS) -> str:
    """The sentence; nothing at all was written."""
    with pytest.raises(PackageRefused) as caught:
        extract(content, target, limits)
    assert list(target.iterdir()) == []
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def entry(name: str, content: bytes = b"x", **attributes: object) -> bytes:
    """A zip of one entry with odd attributes."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr(info, content)
    return buffer.getvalue()


def patched(content: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The zip with bytes changed in the last header of this kind."""
    position = content.rindex(signature) + offset
    return content[:position] + value + content[position + len(value) :]


def test_files_and_folders_are_unpacked(tmp_path: pathlib.Path) -> None:
    files = {"a.txt": b"first", "b/c/d.bin": bytes(range(256)) * 5000, "b/e": b"", "empty/": b""}
    assert extract(zip_bytes(files), tmp_path) == sum(map(len, files.values()))
    assert (tmp_path / "b/c/d.bin").read_bytes() == files["b/c/d.bin"]
    assert (tmp_path / "b/e").read_bytes() == b"" and (tmp_path / "empty").is_dir()


def test_stored_entries_are_unpacked(tmp_path: pathlib.Path) -> None:
    assert extract(zip_bytes({"a": b"12345"}, zipfile.ZIP_STORED), tmp_path) == 5
    assert (tmp_path / "a").read_bytes() == b"12345"


def test_streamed_zips_are_unpacked(tmp_path: pathlib.Path) -> None:
    """Their sizes stand behind the data, as in the output of `zip -`."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.content += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a/b", b"streamed" * 100)
    assert extract(pipe.content, tmp_path) == 800


def test_modes_are_ours_but_for_execution(tmp_path: pathlib.Path) -> None:
    before = os.umask(0o022)
    try:
        extract(entry("run", external_attr=(stat.S_IFREG | 0o700) << 16), tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "a/../b",
        "a/../../b",
        "..",
        "./a",
        "a//b",
        "/etc/passwd",
        "C:/a",
        "a\\b",
        "..\\a",
        "a\nb",
        "a\x7fb",
        "\x85",
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    refusal(entry(name), tmp_path)


def test_a_name_with_a_nul_is_refused(tmp_path: pathlib.Path) -> None:
    """zipfile would cut it there and write a file of another name."""
    content = entry("abcdefg").replace(b"abcdefg", b"abc\0efg")
    assert "control character" in refusal(content, tmp_path)


def test_long_and_deep_names_are_refused(tmp_path: pathlib.Path) -> None:
    assert "too long" in refusal(entry("a" * 256), tmp_path)
    assert "too long" in refusal(entry("/".join(["a" * 200] * 6)), tmp_path)
    assert "deep" in refusal(entry("/".join("a" * 17)), tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR])
def test_what_is_no_regular_file_is_refused(tmp_path: pathlib.Path, kind: int) -> None:
    refusal(entry("a", b"/etc/passwd", external_attr=(kind | 0o777) << 16), tmp_path)


def test_a_link_is_refused_whatever_system_made_it(tmp_path: pathlib.Path) -> None:
    sentence = refusal(entry("a", create_system=0, external_attr=(stat.S_IFLNK | 0o777) << 16), tmp_path)
    assert sentence.startswith("a: is a symbolic link")


def test_special_bits_are_refused(tmp_path: pathlib.Path) -> None:
    refusal(entry("a", external_attr=(stat.S_IFREG | stat.S_ISUID | 0o755) << 16), tmp_path)


def test_duplicate_names_are_refused(tmp_path: pathlib.Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zipped.writestr("a", b"1")
        zipped.writestr("a", b"2")
    assert refusal(buffer.getvalue(), tmp_path) == "a: is in the zip twice"


@pytest.mark.parametrize("names", [("a", "a/"), ("a", "a/b"), ("a/b/c", "a/b")])
def test_a_name_that_is_file_and_folder_is_refused(tmp_path: pathlib.Path, names: tuple[str, ...]) -> None:
    refusal(zip_bytes(dict.fromkeys(names, b"")), tmp_path)


def test_names_that_differ_by_case_are_two_files(tmp_path: pathlib.Path) -> None:
    extract(zip_bytes({"Main.java": b"1", "main.java": b"2"}), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_written_over_or_through_what_is_there(tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").symlink_to(outside)
    for name in ("a", "a/b"):
        with pytest.raises(PackageRefused):
            extract(zip_bytes({name: b"x"}), target)
    assert list(outside.iterdir()) == []


def test_encrypted_entries_are_refused(tmp_path: pathlib.Path) -> None:
    content = patched(zip_bytes({"a": b"x"}), CENTRAL, 8, b"\1\0")
    assert refusal(content, tmp_path) == "a: is encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression_are_refused(tmp_path: pathlib.Path, method: int) -> None:
    assert "deflate" in refusal(zip_bytes({"a": b"x" * 100}, method), tmp_path)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: pathlib.Path) -> None:
    content = zip_bytes({"a": bytes(100 << 20)})
    assert "200 times" in refusal(content, tmp_path)
    assert "bytes" in refusal(content, tmp_path, ArchiveLimits(entry_bytes_max=1 << 20, ratio_max=10_000))
    with pytest.raises(PackageTooLarge):
        extract(content, tmp_path, ArchiveLimits(total_bytes_max=1 << 20))


def test_small_content_may_shrink_a_thousandfold(tmp_path: pathlib.Path) -> None:
    assert extract(zip_bytes({"ones.in": b"1 " * (4 << 20)}), tmp_path) == 8 << 20


def test_too_many_entries_are_refused(tmp_path: pathlib.Path) -> None:
    content = zip_bytes({str(number): b"" for number in range(11)})
    assert "11 entries" in refusal(content, tmp_path, ArchiveLimits(entries_max=10))


@pytest.mark.parametrize("size", [9, 11, 0])
def test_an_entry_that_is_not_as_large_as_it_says_is_refused(tmp_path: pathlib.Path, size: int) -> None:
    """With the checksum of what the header tells, which a reader that stops there finds right."""
    body = b"0123456789"
    checksum = zlib.crc32((body + b"?")[:size])
    content = patched(zip_bytes({"a": body}), CENTRAL, 16, struct.pack("<I", checksum))
    content = patched(content, CENTRAL, 24, struct.pack("<I", size))
    with pytest.raises(PackageRefused, match="a: is not of the size"):
        extract(content, tmp_path)


def test_a_wrong_checksum_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(PackageRefused, match="checksum"):
        extract(patched(zip_bytes({"a": b"x"}), CENTRAL, 16, b"\0\0\0\0"), tmp_path)


def test_data_after_the_end_of_an_entry_is_refused(tmp_path: pathlib.Path) -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"x") + packer.flush()
    content = zip_bytes({"a": packed + b"hidden"}, zipfile.ZIP_STORED)
    for signature, offset in ((LOCAL, 8), (CENTRAL, 10)):
        content = patched(content, signature, offset, struct.pack("<H", zipfile.ZIP_DEFLATED))
    content = patched(content, CENTRAL, 16, struct.pack("<I", zlib.crc32(b"x")))
    content = patched(content, CENTRAL, 24, struct.pack("<I", 1))
    with pytest.raises(PackageRefused, match="after its end"):
        extract(content, tmp_path)


def test_entries_that_share_their_data_are_refused(tmp_path: pathlib.Path) -> None:
    """Two names of one stream: https://www.bamsoftware.com/hacks/zipbomb/."""
    content = zip_bytes({"a": b"1" * 1000, "b": b"1" * 1000})
    content = patched(content, CENTRAL, 42, struct.pack("<I", 0))
    content = content.replace(b"b", b"a", 1)
    assert refusal(content, tmp_path)


def test_overlapping_entries_are_refused(tmp_path: pathlib.Path) -> None:
    """The second lies within the data of the first, which is stored."""
    inner = zip_bytes({"b": b"1" * 1000})
    stream = inner[: inner.index(CENTRAL)]
    outer = zip_bytes({"a": stream}, zipfile.ZIP_STORED)
    begin, end = outer.index(stream), outer.rindex(b"PK\5\6")
    record = bytearray(inner[inner.index(CENTRAL) : inner.rindex(b"PK\5\6")])
    record[42:46] = struct.pack("<I", begin)
    tail = bytearray(outer[end:])
    tail[8:12] = struct.pack("<HH", 2, 2)
    tail[12:16] = struct.pack("<I", end - outer.index(CENTRAL, begin + len(stream)) + len(record))
    assert refusal(outer[:end] + bytes(record) + bytes(tail), tmp_path) == "two entries of the zip share their data"


def test_a_local_header_that_says_something_else_is_refused(tmp_path: pathlib.Path) -> None:
    content = zip_bytes({"a": b"x"})
    assert "local header" in refusal(content.replace(b"a", b"b", 1), tmp_path)


def test_something_before_the_first_entry_is_refused(tmp_path: pathlib.Path) -> None:
    assert "begin" in refusal(b"#!/bin/sh\n" + zip_bytes({"a": b"x"}), tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        lambda content: b"",
        lambda content: b"PK\5\6",
        lambda content: content[: len(content) // 2],
        lambda content: content[:40] + content[45:],
        lambda content: os.urandom(1000),
        lambda content: content.replace(CENTRAL, b"PK\1\3"),
    ],
)
def test_what_is_no_zip_is_refused(tmp_path: pathlib.Path, broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PackageRefused):
        extract(broken(zip_bytes({"a": b"some content of a file", "b": b"more of it"})), tmp_path)


def test_any_changed_byte_is_refused_or_harmless(tmp_path: pathlib.Path) -> None:
    """Whatever a byte is changed to, no other exception comes and nothing is written outside."""
    content = zip_bytes({"d/a": b"some content", "b": b"more of it"})
    target = tmp_path / "target"
    for position in range(len(content)):
        for value in (0, 0x2F, 0xFF, content[position] ^ 1):
            target.mkdir()
            with contextlib.suppress(PackageRefused):
                extract(content[:position] + bytes([value]) + content[position + 1 :], target)
            for path in sorted(target.rglob("*"), reverse=True):
                assert not path.is_symlink()
                path.rmdir() if path.is_dir() else path.unlink()
            target.rmdir()
    assert list(tmp_path.iterdir()) == []
