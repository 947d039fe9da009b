"""Makes as many processes as it can.

threat: T4
remedy: The control group of pids does not hold: see the line `cgroup` of `cellblock doctor`.
"""

import os
import signal

from attempts import host, tell

TOO_MANY = 4 * host["processes"]

children = 0
while children < TOO_MANY:
    try:
        child = os.fork()
    except OSError:
        break
    if child == 0:
        signal.pause()
    children += 1
tell(f"more than {host['processes']} processes", children >= host["processes"], children + 1)
