"""The file at a program's standard input is its own to read, and nobody's to change."""

from tests.functional.test_grade import grade
from tests.server import Server

ALONE = """
import fcntl, os
print(os.lseek(0, 0, 1), fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK)
fcntl.flock(0, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(0, fcntl.LOCK_SH | fcntl.LOCK_NB)
os.lseek(0, 0, 2)
fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK)
"""


def test_locks_offset_and_flags_are_shared_with_no_other_run(cellblock: Server) -> None:
    """Each run keeps what it took to its end; of a shared file another run would be refused, or find what it left."""
    result = grade(cellblock, ALONE, tests=[{"input": "same", "expected": "0 0"}] * 8)
    assert result["verdict"] == "AC", result
