"""A jail's own channel to the keeper: what is said there is checked, and whoever lies on it loses his own jail alone."""

import collections.abc
import contextlib
import ctypes
import os
import pathlib
import socket

import pytest

from tests import posture
from tests.server import START_S, Server, until

PIDFD_GETFD = 438  # x86-64; python 3.11 has no name for it
LIES = [
    b"", b"\0", b"{", b"\xff" * 60_000, b'{"type": "status", "status": 0}', b"cos\nsystem\n(S'touch /tmp/unpickled'\ntR.",
    b'{"type":"parked"}' * 100, bytes(range(256)),
]  # fmt: skip


def inits(server: Server) -> list[int]:
    """The first process of each jail, as the host numbers it."""
    found = []
    for line in posture.jail_processes(server):
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{line.split()[0]}/status").read_text()
            if status.partition("NSpid:")[2].splitlines()[0].split()[-1] == "1":
                found.append(int(line.split()[0]))
    return found


@contextlib.contextmanager
def channels(pid: int) -> collections.abc.Iterator[list[socket.socket]]:
    """Copies of the sockets that a process holds."""
    with contextlib.ExitStack() as stack:
        process = os.pidfd_open(pid)
        stack.callback(os.close, process)
        kept = []
        for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(link).startswith("socket:"):
                copy = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, int(link.name), 0)
                assert copy >= 0, os.strerror(ctypes.get_errno())
                kept.append(stack.enter_context(socket.socket(fileno=copy)))
        yield kept


@pytest.mark.threat("D1")
def test_a_jail_that_says_nonsense_is_lost_and_nothing_else(cellblock: Server) -> None:
    """Every jail that is parked lies, each in its way: the keeper lives, the pools fill again, programs run."""
    keeper, wardens = cellblock.keeper.pid, {warden.pid for warden in cellblock.wardens()}
    told = 0
    for number, pid in enumerate(inits(cellblock)):
        with contextlib.suppress(OSError), channels(pid) as sockets:
            for channel in sockets:
                for lie in LIES[number % len(LIES) :]:
                    told += channel.send(lie) == len(lie)
    assert told > len(LIES)
    assert cellblock.execute("python", "print(1)")["output"] == "1\n"
    until(lambda: posture.is_at_rest(cellblock), START_S, "all pools are full again")
    assert cellblock.keeper.pid == keeper
    assert {warden.pid for warden in cellblock.wardens()} == wardens
    assert not pathlib.Path("/tmp/unpickled").exists()
