"""One run of a peer: waits for a jail, has it go, and passes on what becomes of it."""

import dataclasses
import fcntl
from typing import TYPE_CHECKING

from daemon.sandbox import wire
from daemon.sandbox.model import KilledBy, Limits, Outcome

from .jail import Jail, Refused
from .pool import Pool

if TYPE_CHECKING:
    from .peers import Peer


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What a go says. The descriptors are lent."""

    limits: Limits
    payload: str
    files: bool
    descriptors: list[int]


class Run:
    """Takes a jail from a pool and is its listener from then on; `number` is the peer's own name for it."""

    def __init__(self, peer: "Peer", number: int, pool: Pool) -> None:
        self._peer, self._number, self._pool = peer, number, pool
        self._jail: Jail | None = None
        self._order: Order | None = None  # waits for the jail
        self._copies: list[int] = []  # of its descriptors, where the jail is not there at once

    def __repr__(self) -> str:
        return f"<Run {self._number}: {self._jail or 'waits for a jail'}>"

    # -- from the peer

    def acquire(self, order: Order | None) -> None:
        """`order` is for as soon as there is a jail; else a go follows."""
        self._order = order
        self._pool.acquire(self, None if order is None else order.limits)
        if self._order is not None:
            self._copies = [_copy(number) for number in self._order.descriptors]
            self._order = dataclasses.replace(self._order, descriptors=self._copies)

    def go(self, order: Order) -> None:
        if self._jail is None:
            raise wire.BadMessage("go before acquired")
        try:
            self._jail.go(order.limits, order.payload, order.descriptors, order.files)
        except Refused as refusal:
            self._jail.fail("go", str(refusal))

    def kill(self, why: KilledBy) -> None:
        if self._jail is not None:
            self._jail.kill(why)
        else:
            self._pool.forget(self)
            self.denied("kill", str(why))

    # -- from the pool

    def given(self, jail: Jail) -> None:
        self._jail, jail.listener = jail, self
        pipes = tuple(jail.pipes)
        if self._order is None:
            jail.expect_go()
        else:
            self.go(self._order)  # first: the program runs while the peer takes its pipes
            self._end_order()
        self._peer.send({"type": "acquired", "run": self._number}, pipes)
        jail.close_pipes()

    def denied(self, stage: str, reason: str) -> None:
        self._end_order()
        self._peer.refuse(self._number, stage, reason)
        self._peer.ended(self._number)

    def _end_order(self) -> None:
        self._order = None
        self._peer.close_later(self._copies)
        self._copies = []

    # -- from the jail

    def parked(self, jail: Jail) -> None:
        raise AssertionError(f"{jail} was parked when it was given")

    def refused(self, jail: Jail, stage: str, reason: str) -> None:
        self.denied(stage, reason)

    def outcome(self, jail: Jail, outcome: Outcome, artifact: int | None) -> None:
        message = {
            "type": "outcome", "run": self._number, "wait_status": outcome.wait_status,
            "killed_by": outcome.killed_by, "wall_ns": outcome.usage.wall_ns, "cpu_ns": outcome.usage.cpu_ns,
            "memory_bytes": outcome.usage.memory_bytes,
        }  # fmt: skip
        self._peer.send(message, () if artifact is None else (artifact,))
        self._peer.ended(self._number)


def _copy(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
