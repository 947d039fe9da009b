"""Raises its limits, becomes root by a set-user-id file, looks for capabilities, types into a terminal.

threat: P6
needs: x86-64
remedy: Something of confine() in daemon/warden/native/jail.c is missing: no_new_privs, capabilities or RLIMIT_CORE.
"""

import os
import pathlib
import resource
import shutil
import subprocess

from attempts import attempt, refused, tell

IOCTL, PRCTL, PRLIMIT = 16, 157, 302
TIOCSTI, TIOCLINUX = 0x5412, 0x541C

for name in (name for name in dir(resource) if name.startswith("RLIMIT_")):
    hard = resource.getrlimit(getattr(resource, name))[1]
    if hard >= 0 and name != "RLIMIT_CORE":
        attempt(f"raise {name}", resource.setrlimit, getattr(resource, name), (hard + 1, hard + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
core = resource.getrlimit(resource.RLIMIT_CORE)
tell("set the limit of core files to what starts the host's handler of crashes", core != (1, 1), core)
refused("limits of another process", PRLIMIT, 1, resource.RLIMIT_NOFILE, 0, 0)
for identity in (os.setuid, os.setgid):
    attempt(f"{identity.__name__} 0", identity, 0)
attempt("setgroups", os.setgroups, [0])
shutil.copy("/bin/sh", "sh")
os.chmod("sh", 0o6755)
attempt("give a file to root", os.chown, "sh", 0, 0)
told = subprocess.run(["./sh", "-c", "id -u"], capture_output=True, text=True, check=False).stdout.split()
tell("change its user by a set-user-id file", told != [str(os.getuid())], told)
tell("be root", os.getuid() == 0, os.getuid())
status = dict(
    line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\t" in line
)
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    tell(f"capabilities in {name}", int(status[name], 16), status[name])
tell("gain privileges by execve", status["NoNewPrivs"] != "1", status["NoNewPrivs"])
tell("call without a filter", status["Seccomp"] != "2", status["Seccomp"])
for name, call in {
    "TIOCSTI": (IOCTL, 0, TIOCSTI, 0), "TIOCSTI with a high bit": (IOCTL, 0, TIOCSTI | 1 << 32, 0),
    "TIOCLINUX": (IOCTL, 0, TIOCLINUX, 0), "PR_SET_PDEATHSIG": (PRCTL, 1, 0), "PR_SET_MM": (PRCTL, 35, 0),
}.items():  # fmt: skip
    refused(name, *call)
