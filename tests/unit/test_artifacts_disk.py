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


LARGE = """
import asyncio, os, pathlib, resource, sys
from daemon.judge.artifacts import Artifacts

SIZE = 60 << 20

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

async def main():
    def opened():
        return Artifacts(128 << 20, 1 << 30, pathlib.Path(sys.argv[1])).opened()
    given = os.memfd_create("artifact")
    os.truncate(given, SIZE)
    os.pwrite(given, b"end", SIZE - 3)
    async with opened() as artifacts:
        before = peak_mb()
        artifacts.keep("key", given)
    async with opened() as artifacts:
        found = await artifacts.find("key")
    print(os.fstat(found).st_size == SIZE, os.pread(found, 9, SIZE - 3), peak_mb() - before)

asyncio.run(main())
"""


@pytest.mark.threat("U3")
def test_an_artefact_goes_to_the_disk_and_back_without_being_held_as_a_whole(tmp_path: pathlib.Path) -> None:
    """Several may be written at once, while the memory of the HTTP process is everybody's."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGE), tmp_path],
        capture_output=True, text=True, check=False, cwd=pathlib.Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same_size, end, more_mb = done.stdout.split()
    assert (same_size, end) == ("True", "b'end'")
    assert int(more_mb) < 30
