"""A digest of all that decides what a toolchain makes of a source and that can be known without running it.

That is the toolchain file, every file of its own folder that is mounted into jails (helpers such as checker.mjs), the
files that it names as `version_files`, and our own version. What its version command answers comes besides.
"""

import hashlib
import importlib.metadata
import pathlib
from collections.abc import Iterator

from .registry import BadToolchain
from .schema import HERE_PLACEHOLDER, ROOT_PLACEHOLDER, Toolchain


def digest(toolchain: Toolchain, toolchain_root: pathlib.Path) -> bytes:
    """32 bytes (SHA-256), as of now: helpers that change under a running daemon are noticed at its next start.

    Reads every file of the helpers, which are expected to be small. Raises BadToolchain when one cannot be read.
    """
    found = hashlib.sha256()
    parts = (importlib.metadata.version("cellblock"), toolchain.model_dump_json(exclude={"folder"}))
    for part in (*parts, *_files(toolchain, toolchain_root)):
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "big") + data)
    return found.digest()


def _files(toolchain: Toolchain, toolchain_root: pathlib.Path) -> Iterator[str | bytes]:
    """Name and content of each file, in the order of the names."""
    helpers = [mount.source for mount in toolchain.mounts if mount.source.startswith(HERE_PLACEHOLDER)]
    for name in (*helpers, *toolchain.version_files):
        place = name.replace(ROOT_PLACEHOLDER, str(toolchain_root), 1).replace(
            HERE_PLACEHOLDER, str(toolchain.folder), 1
        )
        path = pathlib.Path(place)
        try:
            paths = sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path]
            for inner in paths:
                yield f"{name}/{inner.relative_to(path)}"
                yield inner.read_bytes()
        except OSError as error:
            raise BadToolchain(
                f"{toolchain.id}.toml: {name}: {error.filename}: {error.strerror}; run ./bootstrap or correct it"
            ) from error
