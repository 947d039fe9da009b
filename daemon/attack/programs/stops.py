"""Stops all processes that it can, then itself.

threat: T3
wall_s: 0.3
late_s: 0.1
ends: time_limit
remedy: The keeper waits for a stopped process: a defect of cellblock.
"""

import contextlib
import os
import signal

for pid in (1, -1):
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGSTOP)
