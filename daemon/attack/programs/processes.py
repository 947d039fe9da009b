"""Looks for processes of others, reads init's memory, signals whom it must not reach.

threat: P5
remedy: The jail needs a pid namespace and a /proc of its own: warden.cfg and confine() in daemon/warden/native/jail.c.
"""

import contextlib
import os
import pathlib
import signal

from attempts import attempt, host, tell

OWN = {"1", "2", "3"}  # init, the program, the holder of a forked program's memory

seen = [name for name in os.listdir("/proc") if name.isdigit()]
tell("see other processes", set(seen) - OWN, seen)
for name in ("mem", "environ", "maps", "fd/3"):
    attempt(f"read {name} of init", pathlib.Path("/proc/1", name).read_bytes)
for pid in host["pids"]:
    attempt("signal a process of the host", os.kill, pid, 0)
for number in range(1, signal.NSIG):
    with contextlib.suppress(OSError):
        os.kill(1, number)
state = next(line for line in pathlib.Path("/proc/1/status").read_text().splitlines() if line.startswith("State"))
tell("end or stop init", state.split()[1] in "TZX", state)
