"""The signals that somebody wants sent to a program, which may not be there yet."""

from collections.abc import Callable, Iterable

from .loop import Guard, Timer

LOOK_S = 0.005  # a command's program is looked for at most so often, however many signals are asked for


class Signals:
    """`send` sends them; False where there is no program yet, and then they wait for the next look. It is True where
    there will be none any more, so a jail's end ends the waiting. A number that waits is not kept twice (signal(7):
    "Standard signals do not queue"), so at most as many wait as there are signals.
    """

    def __init__(self, guard: Guard, send: Callable[[Iterable[int]], bool]) -> None:
        self._guard, self._send = guard, send
        self._waiting: dict[int, None] = {}  # in their order
        self._timer: Timer | None = None  # it is there for LOOK_S after each look

    def want(self, number: int) -> None:
        """Now, or at the next look."""
        self._waiting[number] = None
        if self._timer is None:
            self._look()

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        self._timer = self._guard.after(LOOK_S, self._look)
        if self._send(tuple(self._waiting)):
            self._waiting.clear()
