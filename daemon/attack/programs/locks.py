"""Locks a file that all jails share, so that another may see whether it is locked.

threat: U8
accepted: Locks (fcntl, flock) on the toolchain's read-only files
remedy: Nothing that works for programs such as SQLite.
"""

import fcntl
import os

from attempts import attempt

shared = os.open("/usr/bin/python3", os.O_RDONLY)
attempt("flock", fcntl.flock, shared, fcntl.LOCK_SH | fcntl.LOCK_NB)
attempt("fcntl", fcntl.lockf, shared, fcntl.LOCK_SH | fcntl.LOCK_NB)
