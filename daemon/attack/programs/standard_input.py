"""Writes to its standard input, opens it anew, seals, leases and links it, as if another run had the same.

threat: F6
needs: x86-64
remedy: A program's input is a sealed memfd of its run alone: daemon/sandbox/descriptors.py.
"""

import fcntl
import mmap
import os
import pathlib

from attempts import ask, attempt, tell

FALLOCATE, MPROTECT, MADVISE = 285, 10, 28


def call(number, *arguments):
    """A system call that raises OSError."""
    answer = ask(number, *arguments)
    if isinstance(answer, str):
        raise OSError(answer)
    return answer


before, content = os.fstat(0), os.pread(0, 1 << 16, 0)
attempt("write", os.write, 0, b"x")
attempt("truncate", os.ftruncate, 0, 0)
attempt("grow", os.ftruncate, 0, 1 << 20)
attempt("truncate by its name", os.truncate, "/proc/self/fd/0", 0)
for path in ("/proc/self/fd/0", "/dev/stdin"):
    for flags in ("O_WRONLY", "O_RDWR"):
        attempt(f"open {path} with {flags}", os.open, path, getattr(os, flags))
attempt("allocate", os.posix_fallocate, 0, 0, 1 << 20)
attempt("punch a hole", call, FALLOCATE, 0, 3, 0, 4096)
attempt("map to write", mmap.mmap, 0, 0, mmap.MAP_SHARED, mmap.PROT_WRITE)
shared = mmap.mmap(0, 0, mmap.MAP_SHARED, mmap.PROT_READ)
maps = pathlib.Path("/proc/self/maps").read_text().splitlines()
address = int(next(line for line in maps if "memfd:" in line).split("-")[0], 16)
attempt("make a mapping writable", call, MPROTECT, address, 4096, 3)
attempt("remove pages", call, MADVISE, address, 4096, 9)
attempt("seal", fcntl.fcntl, 0, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
attempt("lease", fcntl.fcntl, 0, fcntl.F_SETLEASE, fcntl.F_RDLCK)
attempt("notify", fcntl.fcntl, 0, fcntl.F_NOTIFY, 1)
attempt("mode", os.fchmod, 0, 0o777)
attempt("owner", os.fchown, 0, os.getuid(), os.getgid())
attempt("times", os.utime, 0, (0, 0))
attempt("touch", os.utime, 0)
attempt("link", lambda: os.link("/proc/self/fd/0", "/work/link", follow_symlinks=True))
attempt("run it", os.execv, "/proc/self/fd/0", ["x"])
attempt("copy into it", os.sendfile, 0, os.memfd_create("x"), 0, 1)
after = os.fstat(0)
# The first seven end with the size; the eighth is the time of the last access, which reading changes.
is_same = (before[:7], before.st_mtime_ns, content) == (after[:7], after.st_mtime_ns, os.pread(0, 1 << 16, 0))
tell("change it", not is_same, after)
tell("own it", after.st_uid == os.getuid(), after.st_uid)
