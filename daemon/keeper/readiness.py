"""Tells whoever started the keeper that its event loop turns, and when its wardens have started."""

from daemon.host.service_manager import Notifier

from .loop import Guard


class Readiness:
    """Ready once no toolchain's first warden is starting any more: each makes jails, or is known to have failed."""

    def __init__(self, guard: Guard, notifier: Notifier) -> None:
        self._guard, self._notifier = guard, notifier
        self._say_alive()

    def wardens_are(self, problems: dict[str, str | None], is_starting: bool) -> None:
        """By toolchain id why it has no warden, None where it has one; to be told of every change."""
        words = [f"{name}: {problem or 'ready'}" for name, problem in problems.items()]
        ready = {} if is_starting else {"READY": 1}
        self._notifier.tell(STATUS="; ".join(words), **ready)

    def stops(self) -> None:
        """The keeper was asked to end."""
        self._notifier.tell(STOPPING=1)

    def _say_alive(self) -> None:
        if self._notifier.alive_s is not None:
            self._notifier.tell()
            self._guard.after(self._notifier.alive_s, self._say_alive)
