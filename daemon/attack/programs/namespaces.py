"""Makes namespaces of its own, enters others', changes its root directory.

threat: K1
needs: x86-64
remedy: In inner.toml neither unshare, setns, clone3, chroot and pivot_root are allowed, nor clone with CLONE_NEW*.
"""

from attempts import cloned, refused

UNSHARE, CLONE3, SETNS, CHROOT, PIVOT_ROOT = 272, 435, 308, 161, 155
USER, SIGCHLD = 0x10000000, 17
KINDS = {
    "user": USER, "mount": 0x20000, "pid": 0x20000000, "network": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000,
    "cgroup": 0x2000000,
}  # fmt: skip
TIME = 0x80  # unshare's alone: among clone's flags it is a bit of the signal

for name, flag in KINDS.items():
    cloned(f"clone with a new {name} namespace", flag | USER | SIGCHLD)
for name, flag in {**KINDS, "time": TIME}.items():
    refused(f"unshare with a new {name} namespace", UNSHARE, flag)
refused("clone3", CLONE3, 0, 0)
refused("setns", SETNS, 0, 0)
refused("chroot", CHROOT, 0)
refused("pivot_root", PIVOT_ROOT, 0, 0)
