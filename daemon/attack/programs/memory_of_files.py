"""Takes memory without end that no process has mapped: in files and in sockets.

threat: M5
ends: memory_limit
remedy: The control group of memory does not hold: see the line `cgroup` of `cellblock doctor`.
"""

import contextlib
import os
import socket

kept, chunk = [], bytes(4 << 20)
pair = socket.socketpair()
pair[0].setblocking(False)
while True:
    kept.append(os.memfd_create("held"))
    for _ in range(4):
        os.write(kept[-1], chunk)
    with contextlib.suppress(BlockingIOError):
        pair[0].send(bytes(4096))
