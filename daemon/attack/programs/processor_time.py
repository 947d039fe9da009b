"""Works in threads and in a process that has left session and parent, past its limit of processor time.

threat: T2
cpu_s: 0.2
ends: cpu_limit
remedy: The control group of cpu does not count: see the line `cgroup` of `cellblock doctor`.
"""

import hashlib
import os
import threading
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    for _ in range(4):
        threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"x", b"y", 10**9)).start()
time.sleep(60)
