"""What passes between us and whoever started us: systemd, or our own supervisor in its place.

To it goes how we are, as sd_notify(3) words it: READY=1, STATUS=, WATCHDOG=1, STOPPING=1, one datagram for each. From
it come listening sockets (sd_listen_fds(3)) and how long we may be silent (sd_watchdog_enabled(3)).
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping

FIRST_SOCKET = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
MESSAGE_BYTES = 4096


class Notifier:
    """Says how this process is. `alive_s`: how often it has to be said (seconds), None where nobody watches.

    Every word is a state and none an event, so `tell` repeats all that was said before: a lost datagram costs nothing.
    """

    def __init__(self, sock: socket.socket | None = None, silence_s: float | None = None) -> None:
        self._socket = sock
        if sock is not None:
            sock.setblocking(False)
        self.alive_s = None if sock is None or silence_s is None else silence_s / 2
        self._state: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Notifier {self._state}, every {self.alive_s} s>"

    def tell(self, **state: object) -> None:
        """Say this, all that was said before, and that we live. Never waits, and raises nothing.

        `READY=1`, `STATUS="text"` and the other words of sd_notify(3).
        """
        self._state |= {name: str(value).replace("\n", " ") for name, value in state.items()}
        if self._socket is not None:
            said = {"WATCHDOG": "1"} | self._state
            in_order = sorted(said, key=lambda name: name == "STATUS")  # the last one is cut where it is long
            words = [f"{name}={said[name]}" for name in in_order]
            with contextlib.suppress(OSError):  # nobody reads now: the next one says it again
                self._socket.send("\n".join(words).encode("utf-8", "replace")[:MESSAGE_BYTES])

    @property
    def descriptor(self) -> int | None:
        """The socket's, to be handed to a successor; None where nobody listens."""
        return None if self._socket is None else self._socket.fileno()

    @property
    def silence_s(self) -> float | None:
        """The longest that we may say nothing, in seconds."""
        return None if self.alive_s is None else 2 * self.alive_s


def of_environment(environment: MutableMapping[str, str]) -> Notifier:
    """What NOTIFY_SOCKET and WATCHDOG_USEC say; both are removed, so that no child speaks for us.

    Raises OSError when there is such a socket and it cannot be connected to.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    silence_us, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(os.getpid()))
    if not address:
        return Notifier()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.connect("\0" + address[1:] if address.startswith("@") else address)
    return Notifier(sock, int(silence_us) / 1e6 if silence_us and pid == str(os.getpid()) else None)


def of_descriptor(descriptor: int | None, silence_s: float | None) -> Notifier:
    """On a socket that was inherited from the supervisor, or from what this process was before an exec."""
    if descriptor is None:
        return Notifier()
    os.set_inheritable(descriptor, False)
    return Notifier(socket.socket(fileno=descriptor), silence_s)


def heard(sock: socket.socket) -> dict[str, str] | None:
    """The supervisor's side: the newest state that was told since the last call, None when nothing was."""
    newest = None
    with contextlib.suppress(BlockingIOError):
        while True:
            text = sock.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT).decode("utf-8", "replace")
            newest = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return newest


def listening_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that systemd listens on for us, none where it does not; the variables are removed.

    Raises ValueError when one of them is not a listening stream socket.
    """
    count, pid = environment.pop("LISTEN_FDS", "0"), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return []
    sockets = []
    for descriptor in range(FIRST_SOCKET, FIRST_SOCKET + int(count)):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(f"descriptor {descriptor} of systemd is not a listening stream socket")
        sockets.append(sock)
    return sockets
