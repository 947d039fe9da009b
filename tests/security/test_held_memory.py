"""Memory of every kind is on the account of the jail that took it, whoever else is there, and whatever the host is short of."""

import concurrent.futures
import contextlib
import os
import pathlib
import textwrap

import pytest

from tests import posture
from tests.server import PREFIX, Server

HELD = {  # each holds all that it can get; prints how many megabytes, where the kernel gave no more
    "memfd": """
import os
while held < 1 << 30:
    kept.append(os.memfd_create("x"))
    held += os.write(kept[-1], bytes(8 << 20))
""",
    "pipes": """
import fcntl, os
while held < 1 << 30:
    kept += os.pipe()
    os.set_blocking(kept[-1], False)
    try: fcntl.fcntl(kept[-1], fcntl.F_SETPIPE_SZ, 1 << 20)
    except OSError: pass
    try:
        while True: held += os.write(kept[-1], bytes(65536))
    except BlockingIOError: pass
""",
    "sockets": """
import socket
while held < 1 << 30:
    kept += socket.socketpair()
    for one in kept[-2:]:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
        try:
            while True: held += one.send(bytes(65536))
        except BlockingIOError: pass
""",
    "descriptors on their way": """
import os, socket
kept += socket.socketpair()
kept[0].setblocking(False)
while held < 1 << 30:
    file, (one, other) = os.memfd_create("x"), socket.socketpair()
    held += os.write(file, bytes(1 << 20))
    socket.send_fds(one, [b"x"], [file])
    socket.send_fds(kept[0], [b"x"], [other.fileno()])
    os.close(file), one.close(), other.close()
""",
}


@pytest.mark.threat("M5")
def test_memory_behind_descriptors_is_the_programs_or_is_not_given(cellblock: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        codes = [
            f"held, kept = 0, []\ntry:\n{textwrap.indent(code, '    ')}except OSError: print(held >> 20)"
            for code in HELD.values()
        ]
        for name, answer in zip(HELD, pool.map(lambda code: cellblock.execute("python", code), codes), strict=True):
            if answer["reason"] != "memory_limit":
                assert int(answer["output"]) < 128, (name, answer)
                assert answer["memory_bytes"] > int(answer["output"]) << 20, f"{name}: not on its account"


@pytest.mark.threat("M1")
@pytest.mark.slow
def test_a_static_array_counts_when_it_is_used(cellblock: Server) -> None:
    code = """
use std::mem::MaybeUninit;
static mut TABLE: MaybeUninit<[u8; 200 << 20]> = MaybeUninit::uninit();
fn main() {
    let used: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    for at in (0..used << 20).step_by(4096) { unsafe { (std::ptr::addr_of_mut!(TABLE) as *mut u8).add(at).write_volatile(1) } }
    println!("used");
}
"""
    assert cellblock.execute("rust", code, args=["100"])["output"] == "used\n"
    assert cellblock.execute("rust", code, args=["200"])["reason"] == "memory_limit"


@pytest.mark.threat("M4")
def test_a_neighbour_that_holds_all_pipes_and_signals_that_it_can_takes_none_from_others(cellblock: Server) -> None:
    """The kernel counts a pipe's pages by user (pipe(7)): beyond a bound the next pipes of that user have one page."""
    take = """
import ctypes, fcntl, os, signal, time
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
ready, said = os.pipe()
kept = []
for child in range(10):
    if os.fork() == 0:
        try:
            while True: kept += os.pipe(); fcntl.fcntl(kept[-1], fcntl.F_SETPIPE_SZ, 1 << 20)
        except OSError: pass
        try:
            while True: kept += os.pipe()
        except OSError: pass
        os.write(said, b"%d " % len(kept))
        signal.pause()
while libc.sigqueue(os.getpid(), signal.SIGRTMIN, 0) == 0: pass
held = b""
while held.count(b" ") < 10: held += os.read(ready, 100)
print(sum(map(int, held.split())) // 2 > 1000, flush=True)
time.sleep(60)
"""
    ask = """
import ctypes, fcntl, os, signal
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
pipes = [os.pipe() for _ in range(100)]
print({fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) for _, writer in pipes})
print(sum(libc.sigqueue(os.getpid(), signal.SIGRTMIN, 0) == 0 for _ in range(100)))
"""
    with cellblock.running("python", take):
        assert cellblock.execute("python", ask)["output"] == "{65536}\n100\n"


@pytest.mark.threat("M3")
def test_what_is_in_the_page_cache_changes_no_verdict_and_little_of_the_figure(cellblock: Server) -> None:
    """Pages are charged to whoever reads them first. Where they meet a limit the kernel takes them back: a limit that a
    program keeps when all is in memory, it keeps when nothing is."""
    little, much = (
        "import difflib, tomllib, zipfile",
        "import difflib, sqlite3, tomllib, xml.etree.ElementTree, zipfile",
    )
    warm = [cellblock.execute("python", code) for code in (little, much, little, much)]
    limit_mb = (warm[3]["memory_bytes"] >> 20) + 2
    forget_toolchain()
    cold = cellblock.execute("python", little)
    assert abs(warm[2]["memory_bytes"] - cold["memory_bytes"]) < 2 << 20
    forget_toolchain()
    assert cellblock.execute("python", much, memory_limit_mb=limit_mb)["reason"] == warm[3]["reason"] == "exited"


def forget_toolchain() -> None:
    """Take what nobody has mapped out of the page cache."""
    for path in pathlib.Path(PREFIX, "toolchains", "python", "usr", "lib").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.threat("M8", "M9")
def test_jails_have_no_swap_and_the_kernel_would_end_them_before_the_daemon(cellblock: Server) -> None:
    """memory.swap.max of version 2, or a swappiness of 0 of version 1; oom_score_adj (proc(5)), which no program can
    lower (test_jail.py asks)."""
    told = []
    for group in posture.jail_groups(cellblock):
        for name in ("memory.swap.max", "memory.swappiness"):
            with contextlib.suppress(FileNotFoundError):
                told.append(pathlib.Path(group, name).read_text())
    assert set(told) == {"0\n"}

    def score(pid: int) -> int:
        return int(pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text())

    daemon = max(score(cellblock.keeper.pid), score(cellblock.http.pid), score(cellblock.process.pid))
    jails = []
    for line in posture.jail_processes(cellblock):
        with contextlib.suppress(OSError):
            jails.append(score(int(line.split()[0])))
    assert len(jails) > 3
    assert min(jails) >= daemon + 500
