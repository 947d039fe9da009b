"""The open connections: how many there may be, how long one may wait, and which gives way to a new one.

A connection waits while no complete request of it is here (nothing has come, half of the headers, not all of the body),
or its answer is not read. Those that wait can be had for nothing, in any number, so they have deadlines and give way:
where an address has `of_address` connections, or all together are `in_all`, the one goes that has waited longest, of
the address that has the most. A new one is refused only where none waits. So no address keeps another from connecting.

An address that stands for many clients (loopback, a trusted proxy, a unix socket) has no bound of its own.
"""

import asyncio
import dataclasses
import resource
from typing import Protocol

from daemon.settings import MB, Settings

from .unread import Unread
from .unwanted import Unwanted

LOOKS = 10  # in the shortest of all deadlines; at most one each LOOK_S
LOOK_S = 1.0
OTHERS_PART = 2  # one descriptor in so many is left for runs, files and the keeper


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """`in_all` and `of_address` are numbers of connections. `headers_s` is for the first request's headers, `idle_s`
    until the next request. An answer waits for its reader for `unread_s`, all such answers have `unread_bytes`."""

    in_all: int
    of_address: int
    headers_s: float
    idle_s: float
    unread_s: float
    unread_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """What the deployment says, and not more than the descriptors that this process may have allow."""
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return cls(
            min(settings.connections_max, descriptors // OTHERS_PART),
            settings.connections_of_address_max,
            settings.headers_s,
            settings.idle_s,
            settings.unread_s,
            settings.unread_mb * MB,
        )


class Peer(Protocol):
    """One connection. `is_many`: its address stands for many clients."""

    address: str
    is_many: bool

    @property
    def waits(self) -> bool:
        """No complete request of it is here, or its answer is not read."""

    @property
    def waits_for_request(self) -> bool:
        """Nothing of it is being answered."""

    def give_way(self) -> None:
        """Ends at once."""

    def expire(self) -> None:
        """Ends because its time is over."""


@dataclasses.dataclass(slots=True)
class _Since:
    at_s: float
    seconds: float  # it may wait so long for a request


class Connections:
    """`busy` counts requests from their headers until their answers are in the kernel's hands."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of_address: dict[str, dict[Peer, _Since]] = {}  # of each, who has waited longest first
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.count = self.busy = 0
        self.is_draining = False  # each connection ends with its next answer
        self.unread = Unread(limits.unread_bytes, limits.unread_s)
        self.unwanted = Unwanted()

    def __repr__(self) -> str:
        return f"<Connections: {self.count} of at most {self._limits.in_all}, {self.busy} busy, {self.unread}>"

    def add(self, peer: Peer) -> bool:
        """A new connection, to which another may give way. False: there is no room for it."""
        own = self._of_address.get(peer.address, {})
        if not peer.is_many and len(own) >= self._limits.of_address and not self._has_way(own):
            return False
        if self.count >= self._limits.in_all:
            by_size = sorted(self._of_address.values(), key=len, reverse=True)
            if not any(map(self._has_way, by_size)):
                return False
        self._of_address.setdefault(peer.address, {})[peer] = _Since(self._loop.time(), self._limits.headers_s)
        self.count += 1
        return True

    def remove(self, peer: Peer) -> None:
        """It has ended. May be called for one that was never added, or twice."""
        own = self._of_address.get(peer.address, {})
        if own.pop(peer, None) is None:
            return
        self.count -= 1
        if not own:
            del self._of_address[peer.address]

    def begin(self) -> None:
        """One of them has a request."""
        self.busy += 1

    def end(self, peer: Peer) -> None:
        """Its request is over; it waits for the next one."""
        self.busy -= 1
        own = self._of_address.get(peer.address, {})
        since = own.pop(peer, None)
        if since is not None:
            since.at_s, since.seconds = self._loop.time(), self._limits.idle_s
            own[peer] = since

    def watch(self) -> None:
        """Look after deadlines from now on, until `close`."""
        limits = self._limits
        seconds = min(LOOK_S, min(limits.headers_s, limits.idle_s, limits.unread_s) / LOOKS)
        self._timer = self._loop.call_later(seconds, self.watch)
        now_s = self._loop.time()
        for own in list(self._of_address.values()):
            for peer, since in list(own.items()):
                if now_s - since.at_s >= since.seconds and peer.waits_for_request:
                    peer.expire()
        self.unread.look(now_s)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _has_way(self, own: dict[Peer, _Since]) -> bool:
        """Whether one of them waited, which is gone now: the longest one without a request, else the first that can."""
        found = next((peer for peer in own if peer.waits_for_request), None)
        found = found or next((peer for peer in own if peer.waits), None)
        if found is None:
            return False
        self.remove(found)
        found.give_way()
        return True
