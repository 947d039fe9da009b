"""One single-use jail from the keeper's side: park, go, deadlines, end.

Its states follow one line: starting -> parked -> running -> ending -> ended, and any of them may go to ending. What it
has to say goes to its listener: acquired, refused (before go) or outcome (after it).
"""

import contextlib
import enum
import logging
import os
import signal
import socket
import time
from typing import Protocol

from daemon.sandbox import wire
from daemon.sandbox.model import KilledBy, Limits, Outcome, StepPlan, Usage

from . import artifact
from .cgroup import Group, TooSmall, Tree
from .ending import Signs, cause
from .loop import Loop, Timer
from .wardens import Warden

log = logging.getLogger("cellblock.keeper")

PARK_S = 5.0  # to become ready, and to be used once acquired
REMOVE_RETRY_S = 0.002
LEAST_CPU_TIMER_S = 0.001
EVENTFD_BYTES = 8
MB = 1 << 20


class State(enum.StrEnum):
    STARTING = "starting"
    PARKED = "parked"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"


class Listener(Protocol):
    """Whoever acquired the jail. Descriptors are lent: they are closed when the call returns."""

    def acquired(self, jail: "Jail", descriptors: list[int]) -> None: ...

    def refused(self, jail: "Jail", stage: str, reason: str) -> None: ...

    def outcome(self, jail: "Jail", outcome: Outcome, artifact: int | None) -> None: ...

    def removed(self, jail: "Jail") -> None: ...


class Refused(Exception):
    """The order cannot be carried out; the text says why."""


class Jail:
    """Made with its group, or OSError; `start` asks a warden to fork.

    `uid` counts inside the warden's slice; `run` is the listener's own name for it.
    """

    def __init__(
        self,
        loop: Loop,
        tree: Tree,
        warden: Warden,
        step: StepPlan,
        number: int,
        uid: int,
        run: int,
        listener: Listener,
    ) -> None:
        self.number, self.uid, self.run, self.step, self.warden = number, uid, run, step, warden
        self.state = State.STARTING
        self._loop, self._listener = loop, listener
        self._pidfd: int | None = None
        self._killed_by: KilledBy | None = None
        self._failure: tuple[str, str] | None = None
        self._wait_status: int | None = None
        self._artifact: int | None = None
        self._went = self._too_small = False
        self._started_ns = self._ended_ns = 0
        self._cpu_before_ns: int | None = None
        self._limits = step.default
        self._forking = True
        self._group: Group = tree.make(f"jail-{number}")
        self._timers: list[Timer] = []
        self._memory_event: int | None = None
        try:
            self._channel, self._inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            self._group.remove()
            raise
        self._channel.setblocking(False)
        loop.watch(self._channel.fileno(), self._on_channel)

    def start(self) -> None:
        """Limit the group and have the warden fork; what goes wrong is heard by the listener, perhaps at once."""
        self._timers = [self._loop.after(PARK_S, self._on_park_timeout)]
        with self._inner:
            try:
                self._group.set_limits(self.step.default)
                self._memory_event = self._group.watch_memory()
                if self._memory_event is not None:
                    self._loop.watch(self._memory_event, self._on_memory)
                joins = self._group.join_descriptors()
            except OSError as error:
                self._forking = False
                self.fail("cgroup", str(error))
                return
            try:
                self.warden.fork(self.number, self.step.id, self.uid, self._inner.fileno(), joins, self._forked)
            finally:
                wire.close_all(joins)

    def _on_park_timeout(self) -> None:
        """A warden that does not even fork hangs, and every jail after this one would too."""
        if self._forking:
            self.warden.close(f"did not fork within {PARK_S:.0f} s")
        else:
            self.fail("park", f"not ready after {PARK_S:.0f} s")

    def _on_memory(self) -> None:
        assert self._memory_event is not None
        os.read(self._memory_event, EVENTFD_BYTES)
        self.kill(KilledBy.MEMORY)

    def __repr__(self) -> str:
        return f"<Jail {self.number} {self.warden.plan.id}/{self.step.id}: {self.state}, uid {self.uid}>"

    # -- from the warden and from init

    def _forked(self, pidfd: int | None, reason: str) -> None:
        self._forking = False
        self._pidfd = pidfd
        if self.state is State.ENDING:
            self._replace_timers()
        if pidfd is not None:
            self._loop.watch(pidfd, self._init_ended)
            if self.state is State.ENDING:
                self._kill_all()
        elif self.state is State.ENDING:
            self._settle()
        else:
            self.fail("fork", reason)

    def _on_channel(self) -> None:
        self._receive()

    def _receive(self) -> bool:
        """Hear one message or the end; False when there is neither yet."""
        try:
            received = wire.receive(self._channel)
        except BlockingIOError:
            return False
        except (OSError, wire.BadMessage):
            received = None
        if received is None:
            self._lost()
            return True
        message, descriptors = received
        try:
            self._hear(message, descriptors)
        finally:
            wire.close_all(descriptors)
        return True

    def _hear(self, message: wire.Message, descriptors: list[int]) -> None:
        status = message.get("status")
        match message["type"], self.state:
            case "ready", State.STARTING if len(descriptors) == 3:
                self.state = State.PARKED
                self._replace_timers(self._loop.after(PARK_S, lambda: self.fail("idle", f"not used in {PARK_S:.0f} s")))
                self._listener.acquired(self, descriptors)
            case "status", State.RUNNING if isinstance(status, int) and 0 <= status <= 0xFFFF:
                self._wait_status = status
                if status == 0 and self.step.leaves_artifact is not None and descriptors:
                    self._artifact = artifact.accept(descriptors[0])
                self._end()
            case "failed", State.STARTING | State.PARKED | State.RUNNING:
                self.fail(_told(message.get("stage")), _told(message.get("reason")))
            case _:
                self.fail("init", "spoke out of turn")

    def _lost(self) -> None:
        """Init went without a word: our own kill, the jail's own OOM, else our failure; `_settle` tells which."""
        self._loop.unwatch(self._channel.fileno())
        self._channel.close()
        if self.state in (State.STARTING, State.PARKED):
            self.fail("init", "ended before go")
        elif self.state is State.RUNNING:
            self._end()

    # -- from the peer

    def go(self, limits: Limits, payload: str, descriptors: list[int]) -> None:
        """Write the limits, start the clock, forward. Raises Refused with nothing done."""
        if self.state is not State.PARKED:
            raise Refused(f"the jail is {self.state}, not parked")
        beyond = limits.within(self.step.maximum)
        if beyond is not None:
            raise Refused(f"limit {beyond} is out of range")
        expected = (self.step.source_name is not None) + (self.step.takes_artifact is not None)
        if len(descriptors) != expected:
            raise Refused(f"{len(descriptors)} descriptors, the step takes {expected}")
        if self.step.takes_artifact is not None and not artifact.is_sealed(descriptors[-1]):
            raise Refused("the artefact is not sealed")
        try:
            self._cpu_before_ns = self._group.cpu_ns()
            self._group.set_limits(limits)
        except TooSmall:
            self._too_small = True  # a memory limit below what the parked jail uses is met at once
        except OSError as error:
            raise Refused(str(error)) from error
        self._limits = limits
        self.state, self._went = State.RUNNING, True
        self._started_ns = time.monotonic_ns()
        if self._too_small:
            self.kill(KilledBy.MEMORY)
            return
        self._replace_timers(self._loop.after(limits.wall_ns / 1e9, lambda: self.kill(KilledBy.WALL)))
        if limits.cpu_ns is not None:
            self._watch_cpu()
        placeholders = {
            "memory_mb": limits.memory_bytes // MB, "processes": limits.processes,
            "stack_mb": self.step.jail.stack_bytes // MB,
        }  # fmt: skip
        order = {"type": "go", "placeholders": placeholders, "payload": payload}
        try:
            wire.send(self._channel, order, tuple(descriptors))
        except OSError:
            self._end()

    def _watch_cpu(self) -> None:
        """CPU time is a counter, not an event: look again when the limit could be reached on all cores at once."""
        limit_ns = self._limits.cpu_ns
        if self.state is not State.RUNNING or limit_ns is None:
            return
        try:
            used_ns = self._cpu_used_ns()
        except OSError as error:
            self.fail("cgroup", str(error))
            return
        if used_ns is None:
            return
        if used_ns >= limit_ns:
            self.kill(KilledBy.CPU)
            return
        wait_s = max(LEAST_CPU_TIMER_S, (limit_ns - used_ns) / 1e9 / (os.cpu_count() or 1))
        self._timers[1:] = [self._loop.after(wait_s, self._watch_cpu)]

    def _cpu_used_ns(self) -> int | None:
        now_ns = self._group.cpu_ns()
        return None if now_ns is None or self._cpu_before_ns is None else now_ns - self._cpu_before_ns

    def kill(self, why: KilledBy) -> None:
        """End the run for this reason; the first reason counts."""
        if self.state in (State.ENDING, State.ENDED):
            return
        self._killed_by = why
        self._end()

    def fail(self, stage: str, reason: str) -> None:
        """Our own failure: no verdict may come of it."""
        if self.state in (State.ENDING, State.ENDED):
            return
        log.warning("jail %d (%s/%s): %s: %s", self.number, self.warden.plan.id, self.step.id, stage, reason)
        self._failure = (stage, reason)
        self._killed_by = KilledBy.LOST
        self._end()

    # -- the end

    def _end(self) -> None:
        """The one way out: kill, wait until empty, read the figures, say so, remove."""
        self.state = State.ENDING
        self._ended_ns = time.monotonic_ns()
        self._replace_timers()
        if self._forking:  # nothing can be killed before the warden has answered
            self._timers = [self._loop.after(PARK_S, self._on_park_timeout)]
        try:
            self._group.lift_cpu_quota()
        except OSError as error:
            log.warning("jail %d: %s", self.number, error)
        self._kill_all()
        if self._pidfd is None and not self._forking:
            self._settle()

    def _kill_all(self) -> None:
        self._group.kill()
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):  # it is a zombie already; the pidfd says so too
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _init_ended(self) -> None:
        """The pidfd of a pid namespace's init is readable once all of the namespace is dead (pid_namespaces(7))."""
        assert self._pidfd is not None
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = None
        while self.state not in (State.ENDING, State.ENDED):
            if not self._receive():
                self._lost()
        self._settle()

    def _settle(self) -> None:
        """Everything of the jail is dead: read the figures, answer, remove the group."""
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        if self._channel.fileno() >= 0:
            self._loop.unwatch(self._channel.fileno())
            self._channel.close()
        if self._memory_event is not None:
            self._loop.unwatch(self._memory_event)
            os.close(self._memory_event)
        try:
            if self._went:
                self._listener.outcome(self, self._outcome(), self._artifact)
            else:
                stage, reason = self._failure or ("kill", str(self._killed_by))
                self._listener.refused(self, stage, reason)
        finally:
            if self._artifact is not None:
                os.close(self._artifact)
        self._remove()

    def _outcome(self) -> Outcome:
        wall_ns = self._ended_ns - self._started_ns
        try:
            memory = self._group.out_of_memory(told=self._killed_by is KilledBy.MEMORY)
            cpu_ns, peak_bytes = self._cpu_used_ns(), self._group.peak_memory_bytes()
        except OSError as error:  # somebody removed the group under us: no figures, so no verdict
            log.warning("jail %d: %s", self.number, error)
            return Outcome(None, KilledBy.LOST, Usage(wall_ns, None, None))
        signs = Signs(
            killed_by=self._killed_by, failed=self._failure is not None, wait_status=self._wait_status, memory=memory,
            too_small=self._too_small, cpu_ns=cpu_ns, cpu_limit_ns=self._limits.cpu_ns,
        )  # fmt: skip
        return Outcome(self._wait_status, cause(signs), Usage(wall_ns, cpu_ns, peak_bytes))

    def _remove(self) -> None:
        if self._group.remove():
            self._listener.removed(self)
        else:
            self._loop.after(REMOVE_RETRY_S, self._remove)  # a dead process leaves its group a moment later

    def _replace_timers(self, *timers: Timer) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = list(timers)


def _told(value: object) -> str:
    """What a jail's init says, short and on one line: after go it may be anything."""
    return ascii(str(value)[:200])[1:-1]
