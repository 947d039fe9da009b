"""Small problem packages for tests, as folders and as zips, honest and not."""

import contextlib
import io
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator, Mapping

Files = Mapping[str, str | bytes]
ZIP_TIME = (2024, 1, 1, 0, 0, 0)

LEGACY: Files = {
    "problem.yaml": "name: Sum\nlimits:\n  time_multiplier: 3\n",
    "data/sample/1.in": "1 2\n",
    "data/sample/1.ans": "3\n",
    "data/secret/01.in": "3 4\n",
    "data/secret/01.ans": "7\n",
    "data/secret/02.in": "5 6\n",
    "data/secret/02.ans": "11\n",
    "submissions/accepted/sum.py": "print(sum(map(int, input().split())))\n",
    "submissions/wrong_answer/minus.cc": "int main() {}\n",
}
NEW: Files = {
    **LEGACY,
    "problem.yaml": "problem_format_version: 2025-09\nname: Sum\nuuid: 8ee7605a-ab1a-8226-1d71-e346ab1e688d\n",
}


def with_files(files: Files, changes: Mapping[str, str | bytes | None]) -> dict[str, str | bytes]:
    """The files with some added or replaced; None removes one."""
    return {name: content for name, content in {**files, **changes}.items() if content is not None}


def write(root: pathlib.Path, files: Files) -> pathlib.Path:
    """The files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def zip_bytes(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An ordinary zip of them, the same bytes whenever it is made: tests change some of them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as zipped:
        for name, content in files.items():
            zipped.writestr(zipfile.ZipInfo(name, ZIP_TIME), content, method)
    return buffer.getvalue()


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[int]:
    """A descriptor of a file with this content."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.fileno()


@contextlib.contextmanager
def directory(path: pathlib.Path) -> Iterator[int]:
    """A descriptor of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
