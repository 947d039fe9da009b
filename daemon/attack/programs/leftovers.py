"""Looks for what a neighbour leaves in files, sockets and processes, while that one runs and when it has ended.

threat: F5
beside: leaves_things.py
remedy: Each jail has a tmpfs and namespaces of its own: confine() in daemon/warden/native/jail.c.
"""

import os
import socket

from attempts import attempt, tell

for folder in ("/tmp", "/dev/shm", "/work", "/", "/usr", "/usr/tmp", "/var/tmp", "/run"):
    names = os.listdir(folder) if os.path.isdir(folder) else []
    tell(f"files in {folder}", any(name.startswith("left-") for name in names), names)
for name in ("\0left-behind", "/tmp/left-socket"):
    attempt(f"connect to {name!r}", socket.socket(socket.AF_UNIX).connect, name)
seen = [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 3]
tell("processes", seen, seen)
