"""A server whose state lies on a small file system of its own, in a mount namespace of its own, and how to fill that."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from tests.server import COMMAND, Server

CHUNK_BYTES = 1 << 16
RUN = "/run/cellblock"
LAST_SLICE = (1 << 31) - (1 << 22)  # of host uids: with /run/cellblock goes the lock by which slices are shared out


class SmallDisk(Server):
    """`state_mb`: the size of the tmpfs that holds the state. `run_kb`: of one below /run/cellblock, the host's if None."""

    def __init__(self, state_mb: int, run_kb: int | None = None, **settings: Any) -> None:
        if run_kb is not None:
            settings["first_uid"] = LAST_SLICE
        super().__init__(**settings)
        self.has_own_run = run_kb is not None
        mounts = {self.state: f"{state_mb}m"} | ({} if run_kb is None else {RUN: f"{run_kb}k"})
        script = "".join(
            f"mkdir -p {path}; mount -t tmpfs -o size={size},mode=755 tmpfs {path}; " for path, size in mounts.items()
        )
        self.command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}exec "$@"', "sh"]
        self.command += [COMMAND, "serve", "--port", "0"]

    def inside(self, path: str) -> pathlib.Path:
        """Where this path of the server's mount namespace is to be found from here."""
        return pathlib.Path(f"/proc/{self.process.pid}/root{path}")

    def run_directory(self) -> pathlib.Path:
        own = super().run_directory()
        return self.inside(str(own)) if self.has_own_run else own

    @contextlib.contextmanager
    def full(self, path: str) -> Iterator[None]:
        """No byte can be written below this path of the server's for as long as the block lasts."""
        filling = self.inside(path) / "filling"
        fill(filling)
        try:
            yield
        finally:
            filling.unlink()


def fill(path: pathlib.Path) -> None:
    """Writes to this file until its file system is full."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):  # ENOSPC
        while True:
            os.write(file.fileno(), bytes(CHUNK_BYTES))
