"""One run in flight, on the HTTP side: what the keeper says of it, and who waits for that."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from . import descriptors as fds
from .messages import Begin, Kill, Message, Signal
from .model import KilledBy, Outcome
from .order import Order, SandboxUnavailable
from .pumps import Drain

BUSY_S = 1.0  # who waits longer for a jail does so because there is none, and not because the host is busy
END_S = 30.0  # after the longest that a run may last, for the end to be told: the keeper has deadlines of its own


class Running:
    """`number` names it to the keeper, to which `send` sends a message, or raises SandboxUnavailable.

    `started` resolves to the three pipes. Once they are taken, `stdin`, `stdout` and `stderr` are the taker's to close.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, order: Order, number: int, send: Callable[[Message], None]
    ) -> None:  # fmt: skip
        self._order, self._number, self._send = order, number, send
        self.started: asyncio.Future[list[int]] = loop.create_future()
        self._ended: asyncio.Future[tuple[Outcome, dict[int, int]]] = loop.create_future()
        self._asked_s = time.monotonic()
        self.stdin = self.stdout = self.stderr = -1
        self._are_pipes_taken = self._is_left_taken = False

    def kill(self, why: KilledBy) -> None:
        """End it; the first reason that comes to the keeper counts."""
        with contextlib.suppress(SandboxUnavailable):
            self._send(Kill(self._number, why))

    def begin(self) -> None:
        """Have it go, where it is held. Raises SandboxUnavailable."""
        self._send(Begin(self._number))

    def signal(self, number: int) -> None:
        """Send a signal (signal(7)) to its program, where it has one."""
        with contextlib.suppress(SandboxUnavailable):
            self._send(Signal(self._number, number))

    @property
    def has_ended(self) -> bool:
        """The keeper has told, or will not any more."""
        return self._ended.done()

    def waits_for_jail(self, now_s: float) -> bool:
        """Whether it has had none for less than BUSY_S, and is not graded: such a run waits for its core."""
        return not (self.started.done() or self._order.graded) and now_s - self._asked_s < BUSY_S

    @property
    def outputs(self) -> dict[int, str]:
        """Its two outputs, by descriptor."""
        return {self.stdout: "stdout", self.stderr: "stderr"}

    def on_end(self, callback: Callable[[], None]) -> None:
        """Called one turn of the loop after its end is known, or its loss."""
        self._ended.add_done_callback(lambda _: callback())

    async def ended(self, drain: Drain | None = None) -> tuple[Outcome, dict[int, int]]:
        """What became of it, and the files that it left, by number, the caller's to close; with a drain once all of its
        output is there. Raises SandboxUnavailable."""
        try:
            async with asyncio.timeout(self._order.longest_s + END_S):
                outcome, left = await asyncio.shield(self._ended)
                if drain is not None:
                    await drain.rest()
        except SandboxUnavailable as error:
            raise SandboxUnavailable(error.stage, error.reason, True, self._is_heard(drain)) from error
        except TimeoutError as error:
            raise SandboxUnavailable("keeper", "it does not tell of an end", True, self._is_heard(drain)) from error
        self._is_left_taken = True
        if outcome.killed_by in (KilledBy.LOST, KilledBy.CLIENT):
            fds.close_all(left.values())
            reason = f"{self._order.toolchain}/{self._order.step}: the jail went away"
            raise SandboxUnavailable("lost", reason, True, self._is_heard(drain))
        return outcome, left

    def _is_heard(self, drain: Drain | None) -> bool:
        """Somebody has heard of its output, or it of somebody's words: it must not be repeated."""
        dialogue = self._order.dialogue
        return (drain is not None and drain.is_heard) or (dialogue is not None and dialogue.is_heard)

    # -- from the client

    def take_pipes(self, pipes: list[int]) -> None:
        """They are its user's from now on."""
        self._are_pipes_taken = True
        self.stdin, self.stdout, self.stderr = pipes

    def hear_started(self, descriptors: list[int]) -> None:
        """Takes the descriptors out of the list, where it has none yet."""
        if not self.started.done():
            self.started.set_result(list(descriptors))
            descriptors.clear()

    def hear_ended(self, outcome: Outcome, left: tuple[int, ...], descriptors: list[int]) -> None:
        """Takes the descriptors out of the list, where it has not ended yet."""
        if not self._ended.done():
            self._ended.set_result((outcome, dict(zip(left, descriptors, strict=True))))
            descriptors.clear()

    def fail(self, error: Exception) -> None:
        """Nothing more will be heard of it."""
        for future in (self.started, self._ended):
            if not future.done():
                future.set_exception(error)
                future.exception()  # not every run waits for both; asyncio would complain of the other

    def close_unclaimed(self) -> None:
        """Close descriptors that came for a run which nobody waits for any more."""
        if not self._are_pipes_taken and self.started.done() and self.started.exception() is None:
            fds.close_all(self.started.result())
        if not self._is_left_taken and self._ended.done() and self._ended.exception() is None:
            fds.close_all(self._ended.result()[1].values())
