"""One warden with all that the keeper holds of it: nsjail, its group, its control socket, who waits for its answers."""

import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

from daemon.host.cgroup import Tree
from daemon.host.privileges import reap_orphans
from daemon.host.processes import is_pidfd
from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages, wire
from daemon.sandbox.model import Limits
from daemon.sandbox.plan import ToolchainPlan

from . import nsjail
from . import warden_state as states
from .lent import Lender
from .loop import Loop
from .machine import Machine

log = logging.getLogger("cellblock.keeper")

WARDEN_LIMITS = Limits(memory_bytes=4 << 30, wall_ns=0, processes=100_000)  # its own group only bounds a leak


@dataclasses.dataclass(frozen=True, slots=True)
class MakeRequest:
    """A jail to be made, and who hears of it: one of `made` (takes the pidfds) and `not_made`, and perhaps `ended`."""

    message: messages.Make
    made: Callable[[list[int]], None]
    not_made: Callable[[str], None]
    ended: Callable[[int], None]


class Warden:
    """Made with nsjail started, or OSError and nothing.

    `on_ready`, `on_dead` (with a reason) and `on_gone` (nothing is left of it) are its fleet's.
    """

    clock = staticmethod(time.monotonic)

    def __init__(
        self, loop: Loop, tree: Tree, setup: nsjail.WardenSetup, plan: ToolchainPlan, key: int, slot: int,
        uid_base: int, on_ready: Callable[["Warden"], None], on_dead: Callable[["Warden", str], None],
        on_gone: Callable[["Warden"], None],
    ) -> None:  # fmt: skip
        self.plan, self.key, self.slot, self.patience_s = plan, key, slot, setup.start_s
        self.is_retired = False  # its fleet's word: no more jails are to be made or kept
        self.toolchain = plan.id
        self._on_ready, self._on_dead, self._on_gone = on_ready, on_dead, on_gone
        self._guard = loop.guard(lambda error: self.close(repr(error)))
        self._unanswered: dict[int, MakeRequest] = {}  # not answered yet
        self._alive: dict[int, MakeRequest] = {}
        self.lender = Lender(setup.networks)
        with contextlib.ExitStack() as undo:
            self._start(tree, setup, uid_base, undo)
            self._guard.watch(self._pidfd, lambda: self.close("nsjail ended"))
            undo.callback(self._guard.unwatch, self._pidfd)
            self._guard.watch(self._control.fileno(), self._receive)
            undo.pop_all()
        self._machine = Machine(
            self._guard, states.new(setup.start_s, self.clock()), states.decide, states.due, self._perform, self.clock
        )
        self._guard.call(lambda: self._say_hello(setup))

    def __repr__(self) -> str:
        return f"<Warden {self.toolchain}: {self._machine.state.phase}, pid {self.pid}>"

    @property
    def pid(self) -> int:
        """Of nsjail."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """It makes jails."""
        return self._machine.state.phase is states.Phase.READY

    @property
    def is_closed(self) -> bool:
        """It is dying or gone."""
        return self._machine.state.phase in (states.Phase.DYING, states.Phase.GONE)

    def make(self, request: MakeRequest, descriptors: list[int]) -> None:
        """Ask for a jail. The warden has its own copies of the descriptors when this returns.

        `not_made` may be called before it returns.
        """
        if self.is_closed:
            request.not_made("its warden is gone")
            return
        self._unanswered[request.message.jail] = request
        try:
            wire.send(self._control, request.message.encode(), descriptors)
        except BlockingIOError:  # it has more requests than its socket holds; they are no reason to end it
            del self._unanswered[request.message.jail]
            request.not_made("its warden has too many requests")
        except (OSError, ValueError) as error:
            self.close(f"control socket: {error}")

    def is_asked(self, jail: int) -> bool:
        """True as long as its answer is awaited."""
        return jail in self._unanswered

    def forget(self, jail: int) -> None:
        """Nobody wants to hear of its program's end."""
        self._alive.pop(jail, None)

    def close(self, reason: str) -> None:
        """End it now; its jails end with it. Nothing happens to one that is dying."""
        self._machine.feed(states.End(reason))

    # -- its start

    def _start(self, tree: Tree, setup: nsjail.WardenSetup, uid_base: int, undo: contextlib.ExitStack) -> None:
        """What is done is undone by the stack. Raises OSError."""
        self._control, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(self._control.close)
        with far_end:
            self.group = tree.make(f"warden-{self.toolchain}-{self.slot}")
            undo.callback(self.group.remove)
            self.group.set_limits(WARDEN_LIMITS)
            self._process = nsjail.start(setup, self.plan, uid_base, far_end.fileno(), self.group)
            undo.callback(_kill, self._process)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.callback(os.close, self._pidfd)
        self._control.setblocking(False)

    def _say_hello(self, setup: nsjail.WardenSetup) -> None:
        plan = json.dumps(dataclasses.asdict(self.plan)).encode()
        with contextlib.ExitStack() as stack:
            hello = []
            for name, content in (("plan", plan), ("filter", setup.filter)):
                hello.append(fds.memfd(name, content))
                stack.callback(os.close, hello[-1])
            wire.send(self._control, messages.Setup().encode(), hello)

    # -- messages

    def _receive(self) -> None:
        try:
            received = wire.receive(self._control)
        except BlockingIOError:
            return
        except (OSError, messages.BadMessage) as error:
            self.close(f"control socket: {error}")
            return
        if received is None:
            self.close("the warden ended")
            return
        data, descriptors = received
        try:
            self._hear(messages.decode(data, len(descriptors), messages.FROM_WARDEN), descriptors)
        except messages.BadMessage as error:
            self.close(str(error))
        finally:
            fds.close_all(descriptors)

    def _hear(self, message: messages.Message, descriptors: list[int]) -> None:
        """Takes descriptors out of the list that it keeps."""
        match message:
            case messages.Ready():
                self._machine.feed(states.IsReady())
            case messages.Broken(stage, reason):
                self.close(f"{stage}: {reason}")
            case messages.Made(jail) if jail in self._unanswered:
                if not all(map(is_pidfd, descriptors)):
                    raise messages.BadMessage("sent something that is no pidfd")
                request = self._alive[jail] = self._unanswered.pop(jail)
                pidfds, descriptors[:] = list(descriptors), []
                request.made(pidfds)
            case messages.NotMade(jail, reason) if jail in self._unanswered:
                self._unanswered.pop(jail).not_made(reason)
            case messages.ForkEnded(jail, status):
                if jail in self._alive:  # else nobody wants to hear of it any more
                    self._alive[jail].ended(status)
            case _:
                raise messages.BadMessage(f"unexpected {message}")

    # -- what the state decides

    def _perform(self, effect: states.Effect) -> None:
        match effect:
            case states.TellReady():
                self._on_ready(self)
            case states.TellDead(reason):
                self._on_dead(self, reason)
            case states.KillIt(reason):
                self._kill(reason)
            case states.Reap():
                self._machine.feed(states.Reaped(self._reap()))
            case states.TellGone():
                self._guard.soon(lambda: self._on_gone(self))
            case states.Log(text):
                log.error("warden of %s: %s", self.toolchain, text)

    def _kill(self, reason: str) -> None:
        """The end of the control socket ends the warden, and with it, as pid 1, every jail."""
        self._guard.unwatch(self._control.fileno())
        self._control.close()
        self._guard.unwatch(self._pidfd)
        with contextlib.suppress(ProcessLookupError):  # it may be reaped already
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        requests, self._unanswered = list(self._unanswered.values()), {}
        for request in requests:
            self._guard.soon(lambda request=request: request.not_made(f"warden: {reason}"))  # type: ignore[misc]

    def _reap(self) -> bool:
        """True once nsjail is reaped and the group removed."""
        if self._process.poll() is None:
            return False
        reap_orphans()  # the warden, if nsjail went before it
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.group.kill()
        return self.group.remove()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
