"""Makes inits that only are there: pid 1 of a jail whose program is a fork of the warden.

Such an init does nothing but wait in the kernel to be killed, so it needs no memory of its own: it shares that of this
small process (CLONE_VM) and costs a thirtieth of a fork. It holds the jail's namespaces, so that a program's end does
not wait for theirs (2 ms). SIGCHLD is ignored here and so by every init, for which the
kernel then reaps orphans by itself (wait(2), NOTES).
"""

import ctypes
import os
import signal
import socket

from . import linux, wall

STACK_BYTES = 16 << 10


class Nursery:
    """A process beside the warden, which alone talks to it; it ends with the warden."""

    def __init__(self) -> None:
        self._socket, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                wall.close_all_but({0, 1, 2, inner.fileno()})
                _serve(inner)
            finally:
                os._exit(0)
        inner.close()

    def make_init(self) -> int:
        """A pidfd of pid 1 in new namespaces. Raises OSError; without a nursery the warden ends."""
        try:
            self._socket.send(b"init")
            data, descriptors, _, _ = socket.recv_fds(self._socket, 64, 1)
        except ConnectionError:
            data = b""
        if not data:
            os._exit(1)
        if not descriptors:
            raise OSError(int(data), "the nursery could not make an init")
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]


def _serve(sock: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    stack = ctypes.create_string_buffer(STACK_BYTES)  # one for all: nothing returns to it
    while sock.recv(64):
        try:
            pidfd = linux.clone_paused(linux.NAMESPACES, stack)
        except OSError as error:
            sock.send(str(error.errno).encode())
            continue
        socket.send_fds(sock, [b"0"], [pidfd])
        os.close(pidfd)
