"""Sleeps past its time limit, and ignores the signals that ask it to end.

threat: T1
wall_s: 0.3
late_s: 0.1
ends: time_limit
remedy: The host is too busy (`other work` of `cellblock doctor`) or, where it is idle, the keeper has a defect.
"""

import contextlib
import signal
import time

for number in range(1, signal.NSIG):
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(60)
