"""The files of an unpacked package, as the format sees them: what begins with a dash or a period is not there."""

import os
import pathlib
import re

from .fields import Warnings
from .refusal import PackageRefused

YAML_FILE = "problem.yaml"
SEEN_ANYHOW = {".timelimit"}  # Kattis' and DOMjudge's, at the top only
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,254}")  # "General requirements" of every version


class Tree:
    """Regular files and folders below `root`, read once; paths are relative to the package's own folder.

    That folder is `root` itself or the only one in it (the format zips a directory, DOMjudge its content). The format
    has names outside of NAME ignored as well; they are read here, since hello.c++ is a name that people use.
    Raises PackageRefused where there is no problem.yaml.
    """

    def __init__(self, root: pathlib.Path, warnings: Warnings) -> None:
        self._warnings = warnings
        self.folder = _package_folder(root)
        self._root = root / self.folder
        self._bytes: dict[str, int] = {}
        self._children: dict[str, list[str]] = {}
        self._scan("")

    def _scan(self, start: str) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            children = self._children[folder] = []
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    path = _join(folder, entry.name)
                    if entry.name[0] in "-." and path not in SEEN_ANYHOW:
                        continue
                    if not NAME.fullmatch(entry.name) and path not in SEEN_ANYHOW:
                        self._warnings.add(f"{path}: the format does not allow this name")
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        self._bytes[path] = entry.stat(follow_symlinks=False).st_size
                    else:
                        continue
                    children.append(entry.name)
            children.sort()

    def is_file(self, path: str) -> bool:
        """True for a regular file."""
        return path in self._bytes

    def is_folder(self, path: str) -> bool:
        """True for a folder, which may be empty."""
        return path in self._children

    def children(self, folder: str) -> tuple[str, ...]:
        """Paths of the files and folders directly in `folder`, sorted by name; none where there is no such folder."""
        return tuple(_join(folder, name) for name in self._children.get(folder, ()))

    def below(self, path: str) -> tuple[str, ...]:
        """All files below a folder, sorted by path; a file is below itself."""
        if path in self._bytes:
            return (path,)
        found: list[str] = []
        waiting = [path]
        while waiting:
            for child in self.children(waiting.pop()):
                if child in self._bytes:
                    found.append(child)
                else:
                    waiting.append(child)
        return tuple(sorted(found))

    def size(self, path: str) -> int:
        """The size of a file in bytes."""
        return self._bytes[path]

    def read(self, path: str, bytes_max: int) -> bytes:
        """The beginning of a file, `bytes_max` and a byte at most."""
        descriptor = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(bytes_max + 1)


def stem(path: str) -> str:
    """A path without the last extension."""
    return path[: path.rindex(".")] if "." in path.rpartition("/")[2] else path


def name_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _package_folder(root: pathlib.Path) -> str:
    if (root / YAML_FILE).is_file():
        return ""
    folders = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    with_yaml = [name for name in folders if name[0] not in "-." and (root / name / YAML_FILE).is_file()]
    if len(with_yaml) > 1:
        raise PackageRefused(f"{YAML_FILE}: is in more than one folder; a package is one problem")
    if not with_yaml:
        raise PackageRefused(f"{YAML_FILE}: is missing, at the top of the zip and in the folder that it holds")
    return with_yaml[0]
