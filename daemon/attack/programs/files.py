"""Writes a file of a terabyte, empty files without end, directories a thousand deep.

threat: F4
remedy: A jail's tmpfs has a size and a number of inodes, and RLIMIT_FSIZE holds: confine() in jail.c.
"""

import os

from attempts import attempt, tell

TERABYTE = 1 << 40
TOO_MANY = 100_000  # a toolchain file may allow more; a quick probe does not show that

file = os.open("/tmp/sparse", os.O_RDWR | os.O_CREAT)
attempt("ftruncate to a terabyte", os.ftruncate, file, TERABYTE)
attempt("write at a terabyte", os.pwrite, file, b"x", TERABYTE)
attempt("allocate a terabyte", os.posix_fallocate, file, 0, TERABYTE)
made = 0
try:
    os.mkdir("/tmp/many")
    os.chdir("/tmp/many")
    while made < TOO_MANY:
        if made < 1000:
            os.mkdir("deep")
            os.chdir("deep")
        else:
            os.mknod(f"{made}")
        made += 1
except OSError:
    pass
tell(f"{TOO_MANY} empty files", made >= TOO_MANY, made)
