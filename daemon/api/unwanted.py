"""How quickly bodies are read that nobody wants any more.

Whoever is refused while it still sends gets the answer only if the rest is read (RFC 9112, 9.6), which costs as much as
a body that is wanted. So of one client no more of it is read than BYTES_PER_S, over all of its connections.
"""

BYTES_PER_S = 16 << 20
READ_FOR_S = 60.0  # then the connection is closed, whatever of the body is still to come
CLIENTS_MAX = 1024  # of whom is remembered until when they have had their share


class Unwanted:
    """All moments are seconds of one clock."""

    def __init__(self) -> None:
        self._free_s: dict[str, float] = {}  # when the client's next byte may be read; the oldest client first

    def __repr__(self) -> str:
        return f"<Unwanted: {len(self._free_s)} clients>"

    def pause_s(self, client: str, size: int, now_s: float) -> float:
        """So long nothing more is read of a connection, after so many bytes of it were."""
        free_s = max(now_s, self._free_s.pop(client, now_s)) + size / BYTES_PER_S
        while len(self._free_s) >= CLIENTS_MAX:
            del self._free_s[next(iter(self._free_s))]
        self._free_s[client] = free_s
        return free_s - now_s
