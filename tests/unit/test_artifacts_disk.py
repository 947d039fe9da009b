"""What was compiled is kept in memory where the disk has no room for it."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

WITHOUT_ROOM = """
import asyncio, os, pathlib, resource, sys
from daemon.judge.artifacts import Artifacts, key_of
from daemon.sandbox.descriptors import memfd

async def main():
    async with Artifacts(1 << 20, 1 << 30, pathlib.Path(sys.argv[1])).opened() as artifacts:
        descriptor, key = memfd("artifact", b"x" * 300_000, sealed=True), key_of(b"", b"code", True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        artifacts.keep(key, descriptor)
    with artifacts.in_memory(key) as kept:
        print(os.fstat(kept).st_size)

asyncio.run(main())
"""


@pytest.mark.threat("D6")
def test_an_artefact_that_the_disk_has_no_room_for_is_kept_in_memory_and_told_in_the_log(
    tmp_path: pathlib.Path,
) -> None:
    """RLIMIT_FSIZE refuses the write to a file (EFBIG) as a full disk does (ENOSPC)."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_ROOM), tmp_path],
        capture_output=True, text=True, check=False, cwd=pathlib.Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "300000" in done.stdout
    assert "cannot keep an artefact on disk" in done.stdout + done.stderr
    assert not list((tmp_path / "artifacts").rglob("*.val")), "what was written of it is removed"
