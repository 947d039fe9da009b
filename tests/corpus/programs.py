"""Which files of a collection are programs of their own."""

import collections
import dataclasses
import fnmatch
import pathlib
import re
from collections.abc import Iterable, Iterator

LANGUAGES = {".py": "python", ".ts": "typescript", ".rs": "rust"}

# What only the file's project can resolve. Such a program fails alike on both sides and proves nothing.
NEEDS_OTHERS = {
    "python": re.compile(r"^\s*from\s+\.", re.M),
    "typescript": re.compile(
        r"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*['"]\.|^/// <reference path""", re.M
    ),
    "rust": re.compile(r"^\s*(?:pub\s+)?mod\s+\w+\s*;|include_(?:str|bytes)!", re.M),
}
MAIN = re.compile(r"\bfn\s+main\s*\(")


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One file."""

    path: pathlib.Path
    language: str
    code: str


def find(folders: Iterable[pathlib.Path], languages: frozenset[str]) -> Iterator[pathlib.Path]:
    """Every file with a known extension, in order. A folder may be a file."""
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if LANGUAGES.get(path.suffix) in languages and path.is_file() and not path.name.endswith(".d.ts"):
                yield path


def is_standalone(language: str, code: str) -> bool:
    """Whether the file names no other file of its project, and has a main where its language wants one."""
    if NEEDS_OTHERS[language].search(code):
        return False
    return language != "rust" or MAIN.search(code) is not None


def load(
    paths: Iterable[pathlib.Path], excluded: Iterable[str], counts: collections.Counter[tuple[str, str]]
) -> Iterator[Program]:
    """The programs among the files; those passed over are counted by language and reason."""
    patterns = tuple(excluded)
    seen: set[str] = set()
    for path in paths:
        language = LANGUAGES[path.suffix]
        try:
            code = path.read_text("utf-8")
        except UnicodeDecodeError:
            counts[language, "not UTF-8"] += 1
            continue
        if any(fnmatch.fnmatch(str(path), pattern) for pattern in patterns):
            counts[language, "excluded"] += 1
        elif not is_standalone(language, code):
            counts[language, "not standalone"] += 1
        elif code in seen:
            counts[language, "seen already"] += 1
        else:
            seen.add(code)
            yield Program(path, language, code)
