"""Opens the host's files: passwords, homes, /proc, /sys, disks, memory, control groups, the doctor's bait.

threat: K2
remedy: A toolchain file mounts a directory of the host that programs must not see, or /proc is not the jail's own.
"""

import os
import pathlib

from attempts import attempt, host, tell

PATHS = (
    "/etc/shadow", "/etc/gshadow", "/etc/hostname", "/etc/machine-id", "/etc/cellblock", "/root", "/home", "/var",
    "/run", "/run/cellblock", "/sys", "/sys/fs/cgroup", "/sys/kernel", "/boot", "/srv", "/mnt", "/media",
    "/proc/kallsyms", "/proc/kcore", "/proc/config.gz", "/proc/keys", "/proc/interrupts", "/proc/timer_list",
    "/proc/meminfo", "/proc/sys", "/proc/sysrq-trigger", "/proc/1/environ", "/proc/1/mem", "/proc/1/root",
    "/proc/1/cwd", "/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/tty", "/dev/console", "/dev/ptmx",
    "/dev/sda", "/dev/vda", "/dev/loop0",
)  # fmt: skip


def read(path):
    """Something of a file, or the names in a directory."""
    if pathlib.Path(path).is_dir():
        return os.listdir(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return os.read(descriptor, 64)


for path in (*PATHS, host["path"], *(f"/proc/{pid}/environ" for pid in host["pids"])):
    attempt(f"read {path}", read, path)
    attempt(f"write {path}", os.open, path, os.O_WRONLY | os.O_NONBLOCK)
group = pathlib.Path("/proc/self/cgroup").read_text().split()
tell("see where its control group is on the host", any(not line.endswith(":/") for line in group), group)
found = [
    os.path.join(top, name) for top, _, names in os.walk("/") for name in names
    if name.startswith("cgroup.") and not top.startswith(("/usr", "/proc"))
]  # fmt: skip
tell("find a file of a control group", found, found)
