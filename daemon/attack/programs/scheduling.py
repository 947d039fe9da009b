"""Takes a larger share of the processors: nice values, real-time classes, other cores, priority on disks.

threat: T5
needs: x86-64
remedy: Take sched_setscheduler, sched_setattr and ioprio_set out of inner.toml; programs must hold no CAP_SYS_NICE.
"""

import contextlib
import os

from attempts import attempt, pointer, refused, room, tell

ARGUMENT = room(64)

attempt("nice -1", os.nice, -1)
attempt("nice -5 of all of its user", os.setpriority, os.PRIO_USER, 0, -5)
refused("SCHED_FIFO", 144, 0, 1, pointer(ARGUMENT))
refused("SCHED_DEADLINE", 314, 0, pointer(ARGUMENT), 0)
refused("priority on disks", 251, 1, 0, 1 << 13)
before = os.sched_getaffinity(0)
with contextlib.suppress(OSError):
    os.sched_setaffinity(0, range(1024))
tell("more cores than it was given", os.sched_getaffinity(0) - before, os.sched_getaffinity(0))
