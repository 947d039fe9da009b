"""Makes the zip of a package that lies in a folder, so that a folder is read by the same way as an upload."""

import dataclasses
import os
import pathlib
import stat
import tempfile
import zipfile

from .archive import ArchiveLimits
from .refusal import PackageRefused
from .tree import SEEN_ANYHOW

EPOCH = (1980, 1, 1, 0, 0, 0)  # the same folder has the same zip, and so the same version in the store
COPY_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class ZippedFolder:
    """`archive` is a descriptor of an uncompressed zip that has no name on the disk; the caller closes it.

    `left_out` are names with the reason: links that lead to nothing or out of the folder where links may lead, and
    names that no zip may have.
    """

    archive: int
    left_out: tuple[tuple[str, str], ...]


def zip_folder(folder: pathlib.Path, limits: ArchiveLimits, within: pathlib.Path | None = None) -> ZippedFolder:
    """The zip of a folder, in the directory for temporary files.

    Links are followed to what is below `within`, by default the package itself, as the format has it; who trusts a
    collection of packages names the collection. What begins with a dash or a period is left out. It blocks. Raises
    PackageRefused past the limits, and for what is neither a file nor a folder; OSError.
    """
    zipper = _Zipper((within or folder).resolve(strict=True), limits)
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zipped:
            zipper.add(zipped, folder.resolve(strict=True), "", limits.depth_max)
        return ZippedFolder(os.dup(file.fileno()), tuple(zipper.left_out))


class _Zipper:
    def __init__(self, within: pathlib.Path, limits: ArchiveLimits) -> None:
        self._within = within
        self._entries, self._bytes = limits.entries_max, limits.total_bytes_max
        self.left_out: list[tuple[str, str]] = []

    def add(self, zipped: zipfile.ZipFile, folder: pathlib.Path, prefix: str, depth: int) -> None:
        if depth < 0:
            raise PackageRefused(f"{prefix}: is too deep; does a link lead back?")
        for path in sorted(folder.iterdir()):
            name = prefix + path.name
            if path.name[0] in "-." and name not in SEEN_ANYHOW:
                continue
            if not path.name.isprintable() or "\\" in path.name:
                self.left_out.append((name, "no file of a package may have such a name"))
            elif self._leads_out(path):
                self.left_out.append((name, "a link to nothing or out of where links may lead"))
            elif path.is_dir():
                self.add(zipped, path, f"{name}/", depth - 1)
            elif path.is_file():
                self._add_file(zipped, path, name)
            else:
                raise PackageRefused(f"{name}: is neither a file nor a folder")

    def _leads_out(self, path: pathlib.Path) -> bool:
        return path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(self._within))

    def _add_file(self, zipped: zipfile.ZipFile, path: pathlib.Path, name: str) -> None:
        entry = zipfile.ZipInfo(name, EPOCH)
        with path.open("rb") as source:
            status = os.fstat(source.fileno())
            self._entries, self._bytes = self._entries - 1, self._bytes - status.st_size
            if self._entries < 0 or self._bytes < 0:
                raise PackageRefused("the package has too many files or too many bytes")
            entry.external_attr = (stat.S_IFREG | (0o755 if status.st_mode & stat.S_IXUSR else 0o644)) << 16
            entry.file_size = status.st_size
            with zipped.open(entry, "w") as target:
                while block := source.read(COPY_BYTES):
                    target.write(block)
