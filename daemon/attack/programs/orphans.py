"""Leaves a process that has its output open and never ends.

threat: P3
wall_s: 1
ends: exited 0
remedy: All of a jail is killed at its program's end: `cgroup.kill` or the pid namespace does not work.
"""

import os
import signal

from attempts import tell

reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.write(writer, b"x")
        while True:
            signal.pause()
    os._exit(0)
os.read(reader, 1)
tell("leave a process", False)
