"""Unpacks a zip whose names, sizes and layout all are what they seem, or refuses it whole before a byte is written.

zipfile reads the central directory. Each local header must agree with it, no two entries may share a byte (overlapping
entries are how a small zip becomes a large one), and nothing may lie before the first. Only stored and deflated entries
are read, by zlib and not by zipfile, which would stop at the size in the header where data goes on. Files are opened
by descriptor below the given directory, never through a link and never over a file (openat(2), O_NOFOLLOW, O_EXCL).

Source: APPNOTE.TXT 6.3.10. It runs in the worker process.
"""

import dataclasses
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from .refusal import PackageRefused, PackageTooLarge

MIB = 1 << 20
CHUNK = 256 << 10
ZLIB_HAS_NO_MEMORY = "Error -4 "  # Z_MEM_ERROR, zlib.h
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")  # signature, flags, method, lengths of name and extra field
LOCAL_SIGNATURE = b"PK\3\4"
ENCRYPTED = 1 | 1 << 6 | 1 << 13  # general purpose flags: encrypted, strongly, with a masked directory
UTF_8 = 1 << 11
PART_BYTES_MAX = 255  # NAME_MAX
SHOWN_CHARACTERS = 100
SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
NOT_A_ZIP = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, EOFError, OverflowError, IndexError)


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Bounds of an archive. `ratio_max` is unpacked to packed bytes of the whole, and only counts beyond
    `ratio_free_bytes`: a test of one repeated number shrinks a thousandfold and is honest."""

    entries_max: int = 20_000
    total_bytes_max: int = 2048 * MIB
    entry_bytes_max: int = 512 * MIB
    ratio_max: int = 200
    ratio_free_bytes: int = 64 * MIB
    depth_max: int = 16
    name_bytes_max: int = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    parts: tuple[bytes, ...]
    is_folder: bool
    is_executable: bool
    info: zipfile.ZipInfo
    data_offset: int


def unpack(archive: int, directory: int, limits: ArchiveLimits) -> int:
    """Writes all entries below the empty directory `directory` and returns the bytes of their content.

    Both are descriptors and stay open. Files are 0644, or 0755 where their owner may execute them. Raises
    PackageRefused; what a refusal after the checks leaves (a wrong checksum) is the caller's to remove. OSError is
    the disk's.
    """
    size = os.fstat(archive).st_size
    try:
        with open(archive, "rb", closefd=False) as file, zipfile.ZipFile(file) as zipped:
            entries = _checked(archive, size, zipped.infolist(), limits)
            _check_layout(entries, zipped.start_dir)
    except NOT_A_ZIP as error:
        raise PackageRefused("the file is not a zip archive, or a broken one") from error
    total = sum(entry.info.file_size for entry in entries)
    made: set[tuple[bytes, ...]] = set()
    for entry in entries:
        folder = _folder(directory, entry.parts if entry.is_folder else entry.parts[:-1], made)
        try:
            if not entry.is_folder:
                _write(archive, folder, entry)
        finally:
            os.close(folder)
    return total


def _checked(archive: int, size: int, infos: list[zipfile.ZipInfo], limits: ArchiveLimits) -> list[_Entry]:
    if len(infos) > limits.entries_max:
        raise PackageRefused(f"the zip has {len(infos)} entries; {limits.entries_max} are allowed")
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes_max:
        raise PackageTooLarge(f"the zip unpacks to {total} bytes; {limits.total_bytes_max} are allowed")
    if total > limits.ratio_free_bytes and total > limits.ratio_max * size:
        raise PackageRefused(f"the zip unpacks to more than {limits.ratio_max} times its size")
    entries = [_entry(archive, info, limits) for info in infos]
    _check_names(entries)
    return entries


def _entry(archive: int, info: zipfile.ZipInfo, limits: ArchiveLimits) -> _Entry:
    raw = info.orig_filename  # `filename` ends at a NUL
    name = _shown(raw)
    parts = _parts(raw, limits)
    is_folder = raw.endswith("/")
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        what = (
            "a symbolic link; zip the files that links lead to"
            if kind == stat.S_IFLNK
            else "neither a regular file nor a folder"
        )
        raise PackageRefused(f"{name}: is {what}")
    if mode & SPECIAL_BITS and not is_folder:  # folders have setgid where they were made below one
        raise PackageRefused(f"{name}: has a set-user-id, set-group-id or sticky bit")
    if info.flag_bits & ENCRYPTED:
        raise PackageRefused(f"{name}: is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PackageRefused(f"{name}: is compressed by a method other than deflate")
    if info.file_size > limits.entry_bytes_max:
        raise PackageRefused(f"{name}: has {info.file_size} bytes; {limits.entry_bytes_max} are allowed")
    if is_folder and info.file_size:
        raise PackageRefused(f"{name}: is a folder with content")
    return _Entry(name, parts, is_folder, bool(mode & stat.S_IXUSR), info, _data_offset(archive, info, name))


def _parts(raw: str, limits: ArchiveLimits) -> tuple[bytes, ...]:
    name = _shown(raw)
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in raw):
        raise PackageRefused(f"{name}: has a control character in its name")
    if "\\" in raw:
        raise PackageRefused(f"{name}: has a backslash in its name")
    if raw.startswith("/") or raw[1:2] == ":":
        raise PackageRefused(f"{name}: is an absolute name")
    parts = raw.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise PackageRefused(f"{name}: has a part that is empty, . or ..")
    if len(parts) > limits.depth_max:
        raise PackageRefused(f"{name}: is more than {limits.depth_max} folders deep")
    try:
        encoded = tuple(part.encode() for part in parts)
    except UnicodeEncodeError:
        raise PackageRefused(f"{name}: has a name that is no text") from None
    if len(raw.encode()) > limits.name_bytes_max or max(map(len, encoded)) > PART_BYTES_MAX:
        raise PackageRefused(f"{name}: has too long a name")
    return encoded


def _data_offset(archive: int, info: zipfile.ZipInfo, name: str) -> int:
    """Where the entry's data begins, by its local header, which must say what the central directory says."""
    header = os.pread(archive, LOCAL_HEADER.size, info.header_offset) if info.header_offset >= 0 else b""
    if len(header) < LOCAL_HEADER.size:
        raise PackageRefused(f"{name}: has no local header")
    signature, flags, method, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    begin = info.header_offset + LOCAL_HEADER.size
    own_name = os.pread(archive, name_bytes, begin)
    expected = info.orig_filename.encode("utf-8" if info.flag_bits & UTF_8 else "cp437")
    if (signature, method, own_name) != (LOCAL_SIGNATURE, info.compress_type, expected) or flags & ENCRYPTED:
        raise PackageRefused(f"{name}: its local header is not what the central directory says")
    return int(begin + name_bytes + extra_bytes)


def _check_names(entries: list[_Entry]) -> None:
    """Names that differ by case only are two files, unless the disk says otherwise (O_EXCL finds it)."""
    seen: set[tuple[bytes, ...]] = set()
    for entry in entries:
        if entry.parts in seen:
            raise PackageRefused(f"{entry.name}: is in the zip twice")
        seen.add(entry.parts)
    files = {entry.parts for entry in entries if not entry.is_folder}
    for entry in entries:
        if any(entry.parts[:depth] in files for depth in range(1, len(entry.parts))):
            raise PackageRefused(f"{entry.name}: is below a name that is a file")


def _check_layout(entries: list[_Entry], directory_offset: int) -> None:
    spans = sorted((entry.info.header_offset, entry.data_offset + entry.info.compress_size) for entry in entries)
    position = 0
    for start, end in spans:
        if start < position:
            raise PackageRefused("two entries of the zip share their data")
        position = end
    if position > directory_offset:
        raise PackageRefused("an entry of the zip reaches into its central directory")
    if spans and spans[0][0] != 0:
        raise PackageRefused("the zip does not begin with an entry: something lies before it")


def _folder(directory: int, parts: tuple[bytes, ...], made: set[tuple[bytes, ...]]) -> int:
    """A descriptor of the folder, the caller's to close; it is made where it is not among `made`."""
    current = os.dup(directory)
    for depth, part in enumerate(parts, 1):
        try:
            if parts[:depth] not in made:
                _make_folder(current, part)
                made.add(parts[:depth])
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current


def _make_folder(directory: int, name: bytes) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=directory)
    except FileExistsError:
        raise PackageRefused(f"{_shown(name.decode())}: this disk has no difference between two such names") from None


def _write(archive: int, folder: int, entry: _Entry) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(entry.parts[-1], flags, 0o755 if entry.is_executable else 0o644, dir_fd=folder)
    except FileExistsError:
        raise PackageRefused(f"{entry.name}: this disk has no difference between two such names") from None
    with open(descriptor, "wb", buffering=0) as file:
        info = entry.info
        written, checksum = 0, 0
        for block in _blocks(archive, entry):
            written += len(block)
            checksum = zlib.crc32(block, checksum)
            if written > info.file_size:
                break
            view = memoryview(block)
            while view:
                view = view[file.write(view) or 0 :]
    if written != info.file_size:
        raise PackageRefused(f"{entry.name}: is not of the size that its header says")
    if checksum != info.CRC:
        raise PackageRefused(f"{entry.name}: has a wrong checksum")


def _blocks(archive: int, entry: _Entry) -> Iterator[bytes]:
    """The content in blocks of CHUNK bytes at most. Raises PackageRefused where the data is no deflate stream."""
    offset, left = entry.data_offset, entry.info.compress_size
    stored = entry.info.compress_type == zipfile.ZIP_STORED
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while left:
        packed = os.pread(archive, min(CHUNK, left), offset)
        if not packed:
            raise PackageRefused(f"{entry.name}: its data ends too soon")
        offset, left = offset + len(packed), left - len(packed)
        if stored:
            yield packed
            continue
        while packed:
            try:
                block = inflater.decompress(packed, CHUNK)
            except zlib.error as error:
                if str(error).startswith(ZLIB_HAS_NO_MEMORY):
                    raise MemoryError from error
                raise PackageRefused(f"{entry.name}: its data is broken") from None
            if block:
                yield block
            packed = inflater.unconsumed_tail
            if inflater.eof and (inflater.unused_data or packed or left):
                raise PackageRefused(f"{entry.name}: has data after its end")
    if not stored:
        yield inflater.flush()
        if not inflater.eof:
            raise PackageRefused(f"{entry.name}: its data ends too soon")


def _shown(name: str) -> str:
    """A name as a sentence may hold it."""
    cut = name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)
