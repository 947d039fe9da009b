"""Pid 1 of a bare run's namespaces: gives up root, runs one command and tells how it ended. Standard library only.

    inside.py DESCRIPTOR PROCS FOLDER COMMAND [ARGUMENT ...]

The bare host is bare but for what strangers' programs must not have: root, the network, other processes and what
others keep in /tmp. The command joins the control group whose cgroup.procs PROCS is, unless that is empty. What is
written to the descriptor is `{"status", "memory_bytes"}`, after `{"failed"}` where the command could not be started.
"""

import ctypes
import json
import os
import resource
import sys

NOBODY = 65534
LIMITS = {  # against accidents with the host; none is near what a jail allows
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_DATA: 4 << 30,
    resource.RLIMIT_FSIZE: 1 << 30,
    resource.RLIMIT_NPROC: 1024,
}


def become_nobody(procs: str, folder: str) -> None:
    if procs:
        with open(procs, "w") as file:
            file.write("0")  # the writer itself: cgroups(7)
    for what, most in LIMITS.items():
        if not (procs and what == resource.RLIMIT_DATA):  # the group's limit is the smaller one
            resource.setrlimit(what, (most, most))
    os.setsid()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir(folder)


def main(descriptor: int, procs: str, folder: str, command: list[str]) -> None:
    if ctypes.CDLL(None, use_errno=True).mount(b"tmpfs", b"/tmp", b"tmpfs", 0, b"size=256m,mode=1777"):
        raise OSError(ctypes.get_errno(), "cannot mount a tmpfs on /tmp")
    os.set_inheritable(descriptor, False)
    child = os.fork()
    if child == 0:
        try:
            become_nobody(procs, folder)
            os.execv(command[0], command)
        except OSError as error:
            os.write(descriptor, json.dumps({"failed": repr(error)}).encode() + b"\n")
        finally:
            os._exit(127)
    os.close(0)
    while True:
        pid, status, usage = os.wait4(-1, 0)  # orphans are pid 1's, too
        if pid == child:
            break
    told = {"status": status, "memory_bytes": usage.ru_maxrss * 1024}
    os.write(descriptor, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
