"""A fork of the warden that is frozen: each program that is a fork of an interpreter begins as a copy of it.

It makes calls by tables that the warden sends and runs no Python between its forks, so that it writes to no page and
copies none, and nothing of one jail is in its memory when it forks the next. The new process goes on by the table too,
until its jail is built; its parent is the warden (CLONE_PARENT), which hears of its end.

Descriptors are at the same numbers in every fork. The zygote has pipes that lead nowhere for standard streams, its
socket and its own pid namespace; a message brings channel, init and groups. A program has its three and, until go, the
channel.
"""

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from . import calls, linux, wall
from .calls import At, Call, Failed, Words
from .init import GO, GO_BYTES, say

SOCKET, OWN_PIDS, CHANNEL, INIT, GROUPS = 3, 4, 5, 6, 7  # descriptors
GROUPS_MAX = 8
NOTHING = (0xFFFFFFF0, linux.LAST_DESCRIPTOR)  # a range of descriptors that are never open
STDIN, STDOUT, STDERR = (4, 3), (6, 7), (8, 9)  # of a program's pipes the other end and its own; pipe2 takes the lowest
SIGACTION_BYTES = 32  # struct sigaction of rt_sigaction(2)
CMSG_HEADER, CMSG_LEN = 16, 20  # of one descriptor (cmsg(3))
ANSWER_BYTES = 256
PAGES_BYTES = 32 << 10
RANGES_MAX = PAGES_BYTES // calls.ENTRY.size - 2
CONTROL_WORDS = 8  # room for GROUPS_MAX and two
OUR_ENTRIES = 6  # of an order, its end included; what follows is the program's

HOLDER = [
    Call("holder: close_range", linux.SYS_CLOSE_RANGE, (0, linux.LAST_DESCRIPTOR)),
    Call("holder: pause", linux.SYS_PAUSE),
]
"""Shares the memory of a program (CLONE_VM) until the jail is killed, a moment after the program's end has been told.

The kernel tells of a process's end once its memory is gone (do_exit in kernel/exit.c: exit_mm, then exit_notify),
which takes most of a millisecond; but only the last of those that share it frees it. The holder is confined as the
program is, has nothing open and is no child that wait(2) would find: its exit signal is none. It begins on the
program's stack and has no use for one. It catches no signal, so that none makes it come back from pause(2). A program
that kills it only ends later.
"""


class Zygote:
    """Made in the warden before its first jail, for the step whose programs are its forks."""

    def __init__(self, step: dict[str, Any], filter_program: bytes) -> None:
        self._step, self._filter = step, filter_program
        self.pid = 0
        self._runner = calls.Runner(mmap.PAGESIZE + wall.TABLE_BYTES + PAGES_BYTES)
        self._loop_address = self._runner.address + SIGACTION_BYTES
        self._order_address = self._runner.address + mmap.PAGESIZE
        self._pages_address = self._order_address + wall.TABLE_BYTES
        self._runner.fill(self._runner.table([], self._pages_address))
        self._socket, self._inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tables: dict[int, calls.Table] = {}  # by the number of groups

    def start(self, prepare: Callable[[], None]) -> list[str] | None:
        """None in the warden; in each program's process its arguments, at go."""
        self.pid = os.fork()
        if self.pid:
            self._inner.close()
            return None
        self._socket.detach()  # it will be closed, and an object would close whatever has its number by then
        inner = self._inner.detach()
        log = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, GROUPS + GROUPS_MAX)
        _arrange(inner, log)
        try:
            prepare()
        except BaseException:
            with open(log, "w") as file:
                traceback.print_exc(file=file)
            os._exit(99)
        os.close(log)
        return self._serve()

    def fork(self, uid: int, channel: int, init: int, groups: Sequence[int]) -> tuple[int, int]:
        """pid and pidfd of a new process in the pid namespace of `init`. Raises OSError; without a zygote we end."""
        if len(groups) not in self._tables:
            self._tables[len(groups)] = calls.Table(self._order(len(groups)), self._order_address, wall.TABLE_BYTES)
        try:
            socket.send_fds(self._socket, [self._tables[len(groups)].with_uid(uid)], [channel, init, *groups])
            data, descriptors, _, _ = socket.recv_fds(self._socket, ANSWER_BYTES, 1)
        except ConnectionError:
            data = b""
        if not data:
            os._exit(1)
        (number,), reason = calls.WORD.unpack_from(data), data[calls.WORD.size :]
        if not descriptors:
            raise OSError(number, reason.decode())
        os.set_inheritable(descriptors[0], False)
        return number, descriptors[0]

    def copy_early(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Have forks copy these pages before go: address and length of each range."""
        copies = [
            Call("pages: madvise", linux.SYS_MADVISE, (start, length, linux.MADV_POPULATE_WRITE))
            for start, length in ranges[:RANGES_MAX]
        ]
        take = [
            Call("zygote: read", linux.SYS_READ, (SOCKET, self._pages_address, PAGES_BYTES)),
            Call("zygote: go on", linux.SYS_CLOSE_RANGE, NOTHING, self._loop_address),
        ]
        self._socket.send(calls.Table(take, self._order_address, wall.TABLE_BYTES).with_uid(0))
        self._socket.send(calls.Table(copies, self._pages_address, PAGES_BYTES).with_uid(0))

    # -- what the warden has the zygote do

    def _order(self, groups: int) -> list[Call]:
        """Fork, tell the warden, wait again; `_in_program` is where the new process goes on."""
        pid, told = Words((0,)), Words((CMSG_LEN, socket.SOL_SOCKET | socket.SCM_RIGHTS << 32, 0))
        clone = Words((
            linux.CLONE_PARENT | linux.CLONE_PIDFD | linux.CLONE_PARENT_SETTID, At(told, CMSG_HEADER), 0, At(pid, 0),
            *(0,) * 7,
        ))  # fmt: skip
        message = Words((0, 0, Words((At(pid, 0), calls.WORD.size)), 1, At(told, 0), CMSG_LEN, 0))
        return [
            Call("fork: setns", linux.SYS_SETNS, (INIT, linux.CLONE_NEWPID)),  # of those that we fork, not our own
            Call("fork: clone3", linux.SYS_CLONE3, (clone, linux.CLONE_ARGS_BYTES), self._in_program(groups)),
            Call("fork: sendmsg", linux.SYS_SENDMSG, (SOCKET, message, socket.MSG_NOSIGNAL)),
            Call("fork: setns", linux.SYS_SETNS, (OWN_PIDS, linux.CLONE_NEWPID)),
            Call("fork: close_range", linux.SYS_CLOSE_RANGE, (CHANNEL, linux.LAST_DESCRIPTOR), self._loop_address),
        ]

    def _in_program(self, groups: int) -> list[Call]:
        """Enter the namespaces of init, put up the wall, take the standard streams."""
        end = GROUPS + groups
        streams = [
            call
            for number, (_, own) in enumerate((STDIN, STDOUT, STDERR))
            for call in (
                Call("pipes: dup2", linux.SYS_DUP2, (own, number)),
                Call("pipes: close", linux.SYS_CLOSE, (own,)),
            )
        ]
        return [
            Call("descriptors: close_range", linux.SYS_CLOSE_RANGE, (SOCKET, OWN_PIDS)),
            Call("descriptors: close_range", linux.SYS_CLOSE_RANGE, (end, linux.LAST_DESCRIPTOR)),
            Call("namespaces: setns", linux.SYS_SETNS, (INIT, linux.NAMESPACES & ~linux.CLONE_NEWPID)),
            Call("namespaces: close", linux.SYS_CLOSE, (INIT,)),
            *wall.up(range(GROUPS, end), self._step["jail"], self._filter),
            *(Call("pipes: pipe2", linux.SYS_PIPE2, (Words((0,)), os.O_CLOEXEC)) for _ in (STDIN, STDOUT, STDERR)),
            *streams,
            Call("session: setsid", linux.SYS_SETSID),
            Call("holder: clone", linux.SYS_CLONE, (linux.CLONE_VM,), HOLDER),
            Call("session: dumpable", linux.SYS_PRCTL, (linux.PR_SET_DUMPABLE, 1)),  # as after an exec
            Call(
                "session: rt_sigaction",
                linux.SYS_RT_SIGACTION,
                (signal.SIGINT, self._runner.address, 0, 8),
                self._pages_address,
            ),
        ]

    # -- in the zygote

    def _serve(self) -> list[str]:
        """Returns in a program's process, at go."""
        self._keep_sigint()
        self._runner.fill(self._runner.table(self._loop(), self._loop_address))
        ctypes.pythonapi.PyOS_BeforeFork()
        while True:
            entry = self._runner.run(self._loop_address)
            if entry >= self._order_address + OUR_ENTRIES * calls.ENTRY.size:
                ctypes.pythonapi.PyOS_AfterFork_Child()
                return self._become(entry)
            try:
                self._runner.check(entry)
            except Failed as failure:
                os.closerange(CHANNEL, GROUPS + GROUPS_MAX)
                os.write(SOCKET, calls.WORD.pack(failure.error.errno or 0) + str(failure.error.strerror).encode())

    def _loop(self) -> list[Call]:
        """Wait for an order of the warden and go on with it; end with the warden."""
        order = Words((self._order_address, wall.TABLE_BYTES))
        control = Words((0,) * CONTROL_WORDS)
        fresh = (0, 0, order, 1, control, calls.WORD.size * CONTROL_WORDS, 0)
        message, size = Words(fresh), calls.WORD.size * len(fresh)
        ended = [Call("zygote: exit_group", linux.SYS_EXIT_GROUP)]
        return [
            # recvmsg(2) leaves in it how much there was, and would take no more the next time; our pipe makes it fresh.
            Call("zygote: write", linux.SYS_WRITE, (1, Words(fresh), size)),
            Call("zygote: read", linux.SYS_READ, (0, message, size)),
            Call("zygote: recvmsg", linux.SYS_RECVMSG, (SOCKET, message, socket.MSG_CMSG_CLOEXEC), ended),
            Call("zygote: go on", linux.SYS_CLOSE_RANGE, NOTHING, self._order_address),
        ]

    def _keep_sigint(self) -> None:
        """Python's own handler, for the programs; the zygote itself ignores it."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ignore = Words((signal.SIG_IGN, 0, 0, 0))
        sigaction = ((0, self._runner.address), (ignore, 0))
        self._runner.make(
            [Call("zygote: rt_sigaction", linux.SYS_RT_SIGACTION, (signal.SIGINT, *pair, 8)) for pair in sigaction],
            self._order_address,
        )

    # -- in the program's process

    def _become(self, entry: int) -> list[str]:
        """The program's arguments, at go; never returns where there is no go."""
        channel = socket.socket(fileno=CHANNEL)
        try:
            if entry < self._pages_address:  # no jail fails because a page is copied late
                self._runner.check(entry)
            ours = [pipe[0] for pipe in (STDIN, STDOUT, STDERR)]
            say(channel, {"type": "ready"}, ours)
            for descriptor in ours:
                os.close(descriptor)
            return self._go(channel)
        except Failed as failure:
            say(channel, {"type": "failed", "stage": failure.stage, "reason": str(failure.error)})
        except Exception as error:  # nothing of ours is ever printed where the program's output goes
            say(channel, {"type": "failed", "stage": "interpreter", "reason": repr(error)})
        os._exit(0)

    def _go(self, channel: socket.socket) -> list[str]:
        data, descriptors, _, _ = socket.recv_fds(channel, GO_BYTES, 4)
        if not data:
            os._exit(0)  # never wanted
        flags, _count, _size = GO.unpack_from(data)
        arguments = data[GO.size :].decode().split("\0")[:-1]
        order = {"files": bool(flags & 4)}
        try:
            if order["files"]:
                wall.put_files(descriptors.pop())
            wall.put(descriptors[0], self._step["source_name"], 0o644)
        except OSError as error:
            raise Failed("source", error) from error
        channel.close()
        return arguments


def _arrange(ours: int, log: int) -> None:
    """The descriptors of a zygote: see above."""
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
    ours, own_pids = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, log + 1) for descriptor in (ours, own_pids))
    wall.close_all_but({0, 1, 2, log, ours, own_pids})
    reader, writer = os.pipe()
    for descriptor, number in ((reader, 0), (writer, 1), (writer, 2), (ours, SOCKET), (own_pids, OWN_PIDS)):
        os.dup2(descriptor, number, inheritable=number < SOCKET)
    wall.close_all_but({0, 1, 2, SOCKET, OWN_PIDS, log})
