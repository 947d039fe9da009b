"""Reaches others through what all jails share: watches, leases, flushes, advice, and what is in memory of them.

threat: U8
needs: x86-64
remedy: Compare inner.toml with the shipped one: what it pretends and refuses keeps these calls from the kernel.
"""

import fcntl
import os

from attempts import ask, attempt, refused, tell

SHARED = os.open("/usr/bin/python3", os.O_RDONLY)
NOBODYS = 999  # a descriptor that is not open: the kernel would answer EBADF
PRETENDED = {
    "fsync": (74, NOBODYS), "fdatasync": (75, NOBODYS), "fadvise64": (221, NOBODYS, 0, 0, 4),
    "sync_file_range": (277, NOBODYS, 0, 0, 7), "msync": (26, 4096, 4096, 4),
}  # fmt: skip
ADVICE = {"MADV_MERGEABLE": 12, "MADV_COLD": 20, "MADV_PAGEOUT": 21, "MADV_COLLAPSE": 25}  # on no bytes: 0 where known

for name, advice in ADVICE.items():
    answer = ask(28, 0, 0, advice)
    tell(name, answer != "EINVAL", f"answered {answer}")
for name, call in PRETENDED.items():
    answer = ask(*call)
    tell(f"{name} reaches the kernel", answer != 0 and answer != "ENOSYS", f"answered {answer}")
for name, call in {
    "inotify_init": (253,), "inotify_init1": (294, 0), "fanotify_init": (300, 0, 0), "mincore": (27, 0, 0, 0),
    "sync": (162,), "syncfs": (306, SHARED), "cachestat": (451, SHARED, 0, 0, 0), "readahead": (187, SHARED, 0, 4096),
    "setxattr": (188,), "getxattr": (191,), "removexattr": (197,),
}.items():  # fmt: skip
    refused(name, *call)
attempt("read only what is in memory", os.preadv, SHARED, [bytearray(4)], 0, os.RWF_NOWAIT)
attempt("lease", fcntl.fcntl, SHARED, fcntl.F_SETLEASE, fcntl.F_RDLCK)
attempt("watch a directory", fcntl.fcntl, os.open("/usr", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)
