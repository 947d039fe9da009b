"""Works on every core for as long as it may: a run has its share of processor time and no more.

threat: T6
wall_s: 1.9
ends: time_limit
needs: a share
remedy: The control group of cpu sets no quota: see the line `cgroup` of `cellblock doctor`.
"""

import os

for _ in range(min(8, os.cpu_count())):
    if os.fork() == 0:
        while True:
            pass
while True:
    pass
