"""Writes what a jail tells its keeper to every open descriptor, and says that its end was good before a bad one.

threat: P5
ends: exited 9
remedy: Something that jail.c or the keeper opened is not closed before the program starts.
"""

import os
import sys

from attempts import attempt, tell

STATUS = b'{"type":"status","status":0}'
MOST = 1024

for number in range(3, MOST):
    try:
        os.fstat(number)
    except OSError:
        continue
    attempt(f"write to descriptor {number}", os.write, number, STATUS)
targets = [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)]
tell("have a socket for a standard stream", any(target.startswith("socket:") for target in targets), targets)
print(STATUS.decode(), file=sys.stderr, flush=True)
sys.exit(9)
