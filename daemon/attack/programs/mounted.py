"""Looks for a mount that can be written and is not its own, or has devices or set-user-id files.

threat: K2
remedy: Each mount of confine() in daemon/warden/native/jail.c is read-only or a tmpfs of the jail, nosuid and nodev.
"""

import pathlib

from attempts import tell

DEVICES = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")}
OWN = {"/work", "/tmp", "/dev/shm"}

for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
    front, back = line.split(" - ")
    path, options, kind = front.split()[4], front.split()[5].split(","), back.split()[0]
    is_own = kind == "tmpfs" and path in OWN
    tell(f"{path} is writable", "rw" in options and not is_own, front)
    tell(f"{path} has set-user-id files", "nosuid" not in options, front)
    tell(f"{path} has devices", "nodev" not in options and path not in DEVICES, front)
