"""The files of `additional_files`, a zip: read whole or refused, in bounded memory and time.

zipfile reads the whole directory of a zip before it says how long it is, so that its size is looked at first.
"""

import io
import stat
import struct
import zipfile
import zlib

from daemon.judge.files import BadName, File, check_name

FILES_MAX = 100
DIRECTORY_BYTES_MAX = 256 << 10  # of 100 entries and their folders, with long names and what tools add
END = struct.Struct("<4sHHHHLLH")  # APPNOTE.TXT 6.3.10, 4.3.16: the end of the central directory
END_SIGNATURE, ZIP64_SIGNATURE, ZIP64_BYTES = b"PK\5\6", b"PK\6\7", 20
PIECE_BYTES = 64 << 10
BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    struct.error,
    ValueError,
    EOFError,
    OverflowError,
    IndexError,
    zlib.error,
)


class BadArchive(ValueError):
    """The zip is not taken; the text says why, after the name of its field."""


def read(data: bytes, bytes_max: int) -> tuple[File, ...]:
    """Its files, of at most `bytes_max` bytes together. It blocks for as long as unpacking takes. Raises BadArchive."""
    _check_end(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            entries = [entry for entry in zipped.infolist() if not entry.is_dir()]
            if len(entries) > FILES_MAX:
                raise BadArchive(f"has {len(entries)} files; {FILES_MAX} are allowed")
            files, left = [], bytes_max
            for entry in entries:
                content = _content(zipped, entry, left)
                if content is None:
                    raise BadArchive(f"unpacks to more than {bytes_max} bytes")
                left -= len(content)
                files.append(File(_name(entry), content))
    except BadArchive:
        raise
    except BadName as error:
        raise BadArchive(f"has a file that cannot be put beside the source: {error}") from None
    except BROKEN:
        raise BadArchive("is not a zip archive, or a broken one") from None
    return tuple(files)


def _check_end(data: bytes) -> None:
    end = END.unpack(data[-END.size :]) if len(data) >= END.size else (b"",) * 8
    before = data[-END.size - ZIP64_BYTES : -END.size]
    if end[0] != END_SIGNATURE or end[7] != 0 or before.startswith(ZIP64_SIGNATURE):
        raise BadArchive("is not a zip archive, or one with a comment or of the format zip64")
    if end[5] > DIRECTORY_BYTES_MAX:
        raise BadArchive(f"has too many files; {FILES_MAX} are allowed")


def _name(entry: zipfile.ZipInfo) -> str:
    """Raises BadName. A leading `./` says nothing, and some tools write it."""
    return check_name(entry.orig_filename.removeprefix("./"))


def _content(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> bytes | None:
    """None: it has more bytes than are left. Raises BadArchive, and what zipfile does."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise BadArchive("has something that is neither a file nor a folder")
    if entry.flag_bits & 1:
        raise BadArchive("is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadArchive("is compressed by a method other than deflate")
    with zipped.open(entry) as stream:
        content = bytearray()
        while piece := stream.read(PIECE_BYTES):
            content += piece
            if len(content) > left:
                return None
    return bytes(content)
