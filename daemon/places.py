"""The HTTP processes of one server: which of them a process is, and the sockets by which they ask each other.

The kernel chooses the names of these sockets (unix(7), "Autobind feature"), so nobody can have taken one before.
"""

import socket
from typing import NamedTuple

BACKLOG = 4


class Place(NamedTuple):
    """Of one HTTP process among its siblings: its number, from 1; the descriptor of its listening socket, None where it
    is alone; the abstract names of all sockets, its own included, in the order of the numbers."""

    number: int
    listener: int | None
    names: tuple[str, ...]

    @property
    def others(self) -> dict[int, str]:
        """The names of the others' sockets, by number."""
        return {number: name for number, name in enumerate(self.names, 1) if number != self.number}


ALONE = Place(1, None, ())


def places(count: int) -> list[Place]:
    """For so many processes. Their listening sockets are the caller's to hand on and to close. Raises OSError."""
    if count == 1:
        return [ALONE]
    listeners, names = list[int](), list[str]()
    for _ in range(count):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind("")
        listener.listen(BACKLOG)
        names.append(listener.getsockname()[1:].decode())
        listeners.append(listener.detach())
    return [Place(number, listener, tuple(names)) for number, listener in enumerate(listeners, 1)]
