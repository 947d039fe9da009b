"""The processes beside a warden: the maker, and the zygote where a step is warm by fork.

A helper is a child of the warden that serves one socket in native code (native/jail.c) and ends with it. The warden
sends a request with a number and waits for the answer with the same number. A helper that ends, answers
something else or does not answer in ANSWER_S raises `HelperDied`, which ends the warden: the keeper starts another.
"""

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Sequence

from daemon.sandbox import messages, wire
from daemon.sandbox.descriptors import close_all
from daemon.sandbox.errors import OurFault

from .native import LIBRARY, Native

ANSWER_S = 5.0
_SOCKET, _OWN_PIDS = 3, 4  # descriptors of a helper; the zygote has both


class HelperDied(OurFault):
    """A helper is gone or hangs; the text says which. Nothing that it was asked for can be counted on."""


class Helper:
    """A helper as the warden sees it. `pid` is 0 until it is started, and `pidfd` -1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid, self.pidfd = 0, -1
        self._number = 0  # of the last request
        self._socket, self._far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(ANSWER_S)

    def start(self) -> int | None:
        """Fork: None in the warden; in the helper the descriptor of its socket. Raises OSError."""
        pid = os.fork()
        if pid == 0:
            self._socket.detach()  # closed with all others; an object would close whatever has its number by then
            return self._far_end.detach()
        self.pid, self.pidfd = pid, os.pidfd_open(pid)
        self._far_end.close()
        return None

    def next_number(self) -> int:
        """Of a request that is asked next."""
        self._number = self._number + 1 & 0xFFFFFFFF
        return self._number

    def ask(self, request: messages.HelperRequest, descriptors: Sequence[int] = ()) -> tuple[int, int]:
        """Its answer: a pid and a pidfd, which is close-on-exec and the caller's to close; or 0 and -1.

        Raises OSError for what it could not do, HelperDied.
        """
        try:
            wire.send(self._socket, request.encode(), list(descriptors))
        except OSError as error:  # TimeoutError too
            raise HelperDied(f"{self.name}: {error}") from error
        return self.hear(request.number)

    def hear(self, number: int) -> tuple[int, int]:
        """The answer to the request of this number, as `ask` returns it."""
        got: list[int] = []
        try:
            received = wire.receive(self._socket)
            if received is None:
                raise HelperDied(f"{self.name} ended")
            data, got = received
            answer = messages.decode_answer(data, len(got))
            if answer.number != number:
                raise messages.BadMessage(f"answer {answer.number} to request {number}")
        except (OSError, messages.BadMessage) as error:  # TimeoutError too
            close_all(got)
            raise HelperDied(f"{self.name}: {error}") from error
        if answer.result < 0:
            raise OSError(-answer.result, f"{self.name}: {os.strerror(-answer.result)}")
        return answer.result, got[0] if got else -1


class Maker(Helper):
    """Makes jails of commands, and inits that hold the namespaces of a jail whose program is a fork.

    It is a small program of its own, because the kernel copies for each jail what its maker has in memory.
    """

    def __init__(self) -> None:
        super().__init__("the maker")
        sock = self.start()
        if sock is not None:
            try:
                os.dup2(sock, _SOCKET)
                close_all_but({0, 1, 2, _SOCKET})
                os.execve(LIBRARY, ["maker"], {})
            finally:
                os._exit(1)
        self.hear(0)  # its root directory is the image

    def make_init(self, network: int) -> int:
        """A pidfd of pid 1 in new namespaces, `network` as messages.Make has it. Raises OSError, HelperDied."""
        return self.ask(messages.MakeInit(self.next_number(), network))[1]

    def make_command(self, description: bytes, uid: int, network: int, descriptors: Sequence[int]) -> tuple[int, int]:
        """A jail for a command: pid and pidfd of its init, a child of ours. `descriptors` are the channel, then groups.

        Raises OSError, and then nothing of it is left; HelperDied.
        """
        return self.ask(messages.MakeCommand(self.next_number(), uid, network, description), descriptors)


class Zygote(Helper):
    """A frozen copy of the interpreter, which programs are forked from."""

    def __init__(self) -> None:
        super().__init__("the zygote")

    def serve(self, native: Native, sock: int, description: bytes, prepare: Callable[[], None]) -> list[str]:
        """In the zygote: serve; returns in the process of each program, at go, with its arguments.

        `prepare` is called once, when standard input is an empty file, because most programs have a file there, and the
        other two lead nowhere. Descriptors are at the same numbers in every fork. Raises OSError.
        """
        log = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
        log = _arrange(sock, log)
        try:
            prepare()
        except BaseException as error:
            os.write(log, f"warden: the zygote's preparation: {error!r}\n".encode())
            os._exit(99)
        os.close(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # for the programs; jail.c ignores it until then
        return native.serve_as_zygote(description, _SOCKET, _OWN_PIDS)

    def fork(self, uid: int, channel: int, init: int, groups: Sequence[int]) -> tuple[int, int]:
        """pid and pidfd of a new program in the namespaces of `init`, a child of ours. Raises OSError, HelperDied."""
        return self.ask(messages.Fork(self.next_number(), uid), [channel, init, *groups])

    def prefault(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Have programs copy these pages before go: address and length of each range. Raises OSError, HelperDied."""
        self.ask(messages.Prefault(self.next_number(), tuple(ranges)))


def fork_program(
    zygote: Zygote, maker: Maker, uid: int, network: int, channel: int, groups: Sequence[int]
) -> tuple[int, int, int]:
    """A jail whose program is a fork: pid and pidfd of the program and the pidfd of its init.

    Raises OSError, and then nothing of the jail is left; HelperDied.
    """
    init = maker.make_init(network)
    try:
        pid, pidfd = zygote.fork(uid, channel, init, groups)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(init, signal.SIGKILL)  # with it its namespaces go
        os.close(init)
        raise
    return pid, pidfd, init


def close_all_but(kept: set[int]) -> None:
    """Close every other descriptor of this process."""
    low = 0
    for descriptor in sorted(kept):
        if low < descriptor:  # an empty range would close everything (CPython passes high - 1 to close_range(2))
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 20)


def _arrange(sock: int, log: int) -> int:
    """Put a zygote's descriptors at their numbers and close the rest but the log, whose number is returned."""
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
    free = _OWN_PIDS + 1
    sock, own_pids, log = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, free) for descriptor in (sock, own_pids, log))
    close_all_but({0, 1, 2, sock, own_pids, log})
    given, (_, writer) = os.memfd_create("stdin"), os.pipe()
    for descriptor, number in ((given, 0), (writer, 1), (writer, 2), (sock, _SOCKET), (own_pids, _OWN_PIDS)):
        os.dup2(descriptor, number, inheritable=number < _SOCKET)
    close_all_but({0, 1, 2, _SOCKET, _OWN_PIDS, log})
    return log
