"""Takes memory without end, in two processes.

threat: M1
ends: memory_limit
remedy: The control group of memory does not hold: see the line `cgroup` of `cellblock doctor`.
"""

import os

held = []
os.fork()
while True:
    held.append(b"x" * (4 << 20))
