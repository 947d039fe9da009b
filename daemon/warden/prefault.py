"""Learns which pages of the zygote a program's start writes to, so that each program can have its copies before go.

The kernel copies a page at the first write to it, 2.6 us each. All of them at once (MADV_POPULATE_WRITE, Linux 5.14)
take 1.8 each, and not while anybody waits. Forks of one zygote have everything at the same addresses, and start alike.
"""

import array
import contextlib
import errno
import mmap
import os
import select
import signal
import socket

from daemon.sandbox import wire
from daemon.sandbox.descriptors import close_all, memfd
from daemon.sandbox.messages import BadMessage, Go, Parked, decode_reply

from .helpers import Maker, Zygote, fork_program

PROGRAM = b"""\
import os
os._exit = lambda status: (os.write(2, b"."), os.read(os.pipe()[0], 1))  # the last of a program, if all goes well
print("hello")
"""
TRIAL_S = 5.0  # for that program to park, and again to say hello
UID = 65535
PRESENT, EXCLUSIVE = 1 << 63, 1 << 56  # of an entry of /proc/pid/pagemap (Linux 4.2)
ENTRY_BYTES = 8


def written_pages(zygote: Zygote, maker: Maker, trial_s: float = TRIAL_S) -> list[tuple[int, int]]:
    """Address and length of each range, by a program that says hello in a jail of its own, which is gone afterwards.

    Raises OSError (TimeoutError when the program takes longer than `trial_s`, twice), HelperDied.
    """
    channel, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with channel, far_end:
        channel.settimeout(trial_s)
        pid, pidfd, init = fork_program(zygote, maker, UID, 0, far_end.fileno(), ())
        far_end.close()
        descriptors = [pidfd, init]
        try:
            pipes = _parked_pipes(channel)
            descriptors += pipes
            given = [memfd("main", PROGRAM), memfd("stdin", b"")]
            descriptors += given
            go = Go(source=True, artifact=False, files=False, strings=(), input=True)
            wire.send(channel, go.encode(), given)
            _wait_for_hello(pipes[2], trial_s)
            return _ranges(_copied(pid) & _there(zygote.pid))
        finally:
            for target in (init, pidfd):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(target, signal.SIGKILL)
            os.waitpid(pid, 0)
            close_all(descriptors)


def _parked_pipes(channel: socket.socket) -> list[int]:
    descriptors: list[int] = []
    try:
        data, descriptors = wire.receive(channel) or (b"", [])
        said = decode_reply(data, len(descriptors))
    except BadMessage as error:
        close_all(descriptors)
        raise OSError(errno.EPROTO, str(error)) from error
    if not isinstance(said, Parked):
        close_all(descriptors)
        raise OSError(errno.EPROTO, f"the trial program: {said}")
    return descriptors


def _wait_for_hello(stderr: int, trial_s: float) -> None:
    """Until it says on stderr that it has come to its end."""
    poll = select.poll()
    poll.register(stderr, select.POLLIN)
    if not poll.poll(trial_s * 1000):
        raise TimeoutError(f"the trial program did not end in {trial_s:.0f} s")
    told = os.read(stderr, 4096)
    if told != b".":
        raise OSError(errno.EPROTO, f"the trial program said {told[:200]!r}")


def _copied(pid: int) -> set[int]:
    """Pages that it shares with nobody."""
    found = set()
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for start, end in _writable(pid):
            pagemap.seek(start // mmap.PAGESIZE * ENTRY_BYTES)
            entries = array.array("Q", pagemap.read((end - start) // mmap.PAGESIZE * ENTRY_BYTES))
            for number, entry in enumerate(entries):
                if entry & PRESENT and entry & EXCLUSIVE:
                    found.add(start + number * mmap.PAGESIZE)
    return found


def _there(pid: int) -> set[int]:
    """Pages that it may write to."""
    return {page for start, end in _writable(pid) for page in range(start, end, mmap.PAGESIZE)}


def _writable(pid: int) -> list[tuple[int, int]]:
    """Private memory that it may write to (proc(5), /proc/pid/maps)."""
    with open(f"/proc/{pid}/maps") as maps:
        rows = [line.split()[:2] for line in maps]
    ends = [addresses.split("-") for addresses, permissions in rows if permissions == "rw-p"]
    return [(int(start, 16), int(end, 16)) for start, end in ends]


def _ranges(pages: set[int]) -> list[tuple[int, int]]:
    """Neighbours put together."""
    found: list[tuple[int, int]] = []
    for page in sorted(pages):
        if found and sum(found[-1]) == page:
            found[-1] = found[-1][0], found[-1][1] + mmap.PAGESIZE
        else:
            found.append((page, mmap.PAGESIZE))
    return found
