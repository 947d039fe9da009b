"""The file at a program's standard input is its own to read, and nobody's to change."""

import json

from tests.functional.test_grade import grade
from tests.server import Server

ATTACKS = """
import ctypes, fcntl, json, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
before, told = os.fstat(0), {}

def attempt(name, attack):
    try:
        told[name] = repr(attack())
    except (OSError, ValueError) as error:
        told[name] = "refused"

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

attempt("write", lambda: os.write(0, b"x"))
attempt("truncate", lambda: os.ftruncate(0, 0))
attempt("grow", lambda: os.ftruncate(0, 1 << 20))
attempt("truncate by path", lambda: os.truncate("/proc/self/fd/0", 0))
for flags in ("O_WRONLY", "O_RDWR"):
    attempt("reopen " + flags, lambda: os.open("/proc/self/fd/0", getattr(os, flags)))
    attempt("reopen /dev/stdin " + flags, lambda: os.open("/dev/stdin", getattr(os, flags)))
attempt("allocate", lambda: os.posix_fallocate(0, 0, 1 << 20))
attempt("punch a hole", lambda: call("fallocate", 0, 3, ctypes.c_long(0), ctypes.c_long(4096)))
attempt("map to write", lambda: mmap.mmap(0, 0, mmap.MAP_SHARED, mmap.PROT_WRITE))
shared = mmap.mmap(0, 0, mmap.MAP_SHARED, mmap.PROT_READ)
address = ctypes.c_void_p(int(next(line for line in open("/proc/self/maps") if "memfd:" in line).split("-")[0], 16))
attempt("make a mapping writable", lambda: call("mprotect", address, 4096, 3))
attempt("remove pages", lambda: call("madvise", address, 4096, 9))
attempt("seal", lambda: fcntl.fcntl(0, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE))
attempt("lease", lambda: fcntl.fcntl(0, fcntl.F_SETLEASE, fcntl.F_RDLCK))
attempt("notify", lambda: fcntl.fcntl(0, fcntl.F_NOTIFY, 1))
attempt("mode", lambda: os.fchmod(0, 0o777))
attempt("owner", lambda: os.fchown(0, os.getuid(), os.getgid()))
attempt("times", lambda: os.utime(0, (0, 0)))
attempt("touch", lambda: os.utime(0))
attempt("link", lambda: os.link("/proc/self/fd/0", "/work/link", follow_symlinks=True))
attempt("run it", lambda: os.execv("/proc/self/fd/0", ["x"]))
attempt("copy into it", lambda: os.sendfile(0, os.memfd_create("x"), 0, 1))
after = os.fstat(0)
told["unchanged"] = (before[:8], before.st_mtime_ns) == (after[:8], after.st_mtime_ns)
told["content"] = os.pread(0, 100, 0).decode()
told["name"] = os.readlink("/proc/self/fd/0")
told["owner is nobody"] = (after.st_uid, after.st_gid) == (65534, 65534)
print(json.dumps(told))
"""
FACTS = {"unchanged": True, "content": "given\n", "name": "/memfd:stdin (deleted)", "owner is nobody": True}


def test_nothing_about_it_can_be_changed(cellblock: Server) -> None:
    answer = cellblock.execute("python", ATTACKS, stdin="given\n")
    assert answer["error"] is None, answer
    told = json.loads(answer["output"])
    assert {name: told.pop(name) for name in FACTS} == FACTS
    assert {name for name, result in told.items() if result != "refused"} == set(), told
    assert len(told) == 23


ALONE = """
import fcntl, os
print(os.lseek(0, 0, 1), fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK)
fcntl.flock(0, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(0, fcntl.LOCK_SH | fcntl.LOCK_NB)
os.lseek(0, 0, 2)
fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK)
"""


def test_locks_offset_and_flags_are_shared_with_no_other_run(cellblock: Server) -> None:
    """Each run keeps what it took to its end; of a shared file another run would be refused, or find what it left."""
    result = grade(cellblock, ALONE, tests=[{"input": "same", "expected": "0 0"}] * 8)
    assert result["verdict"] == "AC", result
