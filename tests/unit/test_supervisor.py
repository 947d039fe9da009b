"""The supervisor's children: when one that says nothing is killed."""

import os
import socket
import sys

import pytest

from daemon.supervisor import STARTING, Child
from tests.server import until

SILENCE_S = 0.5
SLOW = """
import os, sys, time
told = int(sys.argv[1])
os.write(told, b"STATUS=starting")
time.sleep(3 * float(sys.argv[2]))  # its imports, on a busy host
os.write(told, b"READY=1")
time.sleep(60)
"""


@pytest.mark.slow
def test_a_process_that_starts_slowly_is_not_killed_as_one_that_hangs() -> None:
    """It was killed and started again without an end, because it had said that it starts. Once ready, it may not hang."""
    assert STARTING > 3
    ears, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    argv = [sys.executable, "-c", SLOW, str(mouth.fileno()), str(SILENCE_S)]
    child = Child("slow process", argv, [mouth.fileno()], None, ears.detach(), SILENCE_S)
    child.check()
    process = child.process
    assert process is not None
    try:
        until(lambda: child.check() or child.is_ready or process.poll() is not None, 10, "it is ready")
        assert child.is_ready and child.process is process
        until(lambda: child.check() or child.process is None, 10, "it is silent, and killed")
        assert os.WTERMSIG(-process.returncode) == 9
    finally:
        process.kill()
        process.wait()
        child.ear.close()
        mouth.close()
