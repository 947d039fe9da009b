"""One single-use jail from the keeper's side: park, go, deadlines, end.

Its states follow one line: starting -> parked -> running -> ending -> ended, and any of them may go to ending. What it
has to say goes to its listener: acquired, refused (before go) or outcome (after it).
"""

import contextlib
import dataclasses
import enum
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Protocol

from daemon.host.cgroup import Group, TooSmall, Tree
from daemon.sandbox import wire
from daemon.sandbox.model import KilledBy, Limits, Outcome, StepPlan, Usage, Warm

from . import artifact
from .ending import Signs, cause
from .loop import Loop, Timer
from .wardens import Warden

log = logging.getLogger("cellblock.keeper")

REMOVE_RETRY_S = 0.002
OUR_PROCESSES = 1  # in a jail's group beside the program: init, or of a fork its holder
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
    """Whoever has the jail: a pool until it is given away, then a run. The artefact is lent for the call."""

    def parked(self, jail: "Jail") -> None: ...

    def refused(self, jail: "Jail", stage: str, reason: str) -> None: ...

    def outcome(self, jail: "Jail", outcome: Outcome, artifact: int | None) -> None: ...


class Refused(Exception):
    """The order cannot be carried out; the text says why."""


class Jail:
    """Made with its group, or OSError; `start` asks a warden to fork.

    `baseline_bytes` are counted as used by it. `limits` are those that it is parked with, `pipes` the far ends of the
    program's stdin, stdout and stderr once it is parked, `parked_bytes` the memory that it then has.
    """

    def __init__(
        self,
        loop: Loop,
        tree: Tree,
        warden: Warden,
        step: StepPlan,
        number: int,
        limits: Limits,
        listener: Listener,
        on_removed: Callable[["Jail"], None],
        warm: Warm,
        baseline_bytes: int,
    ) -> None:
        self.number, self.uid, self.step, self.warden, self.listener = number, warden.next_uid(), step, warden, listener
        self.state = State.STARTING
        self.pipes: list[int] = []
        self.parked_bytes = 0
        self._loop, self._on_removed = loop, on_removed
        self._pidfd: int | None = None  # of init
        self._program_pidfd: int | None = None
        self._killed_by: KilledBy | None = None
        self._failure: tuple[str, str] | None = None
        self._wait_status: int | None = None
        self._artifact: int | None = None
        self._went = self._told = self._too_small = False
        self._started_ns = self._ended_ns = 0
        self._cpu_before_ns: int | None = None
        self._limits = limits
        self._warm, self._baseline_bytes = warm, baseline_bytes
        self._is_fork = warm is Warm.FORK  # its program holds the channel, until go, and its init is in no group
        self._forking = True
        self._is_background = False
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
        self._is_watched = True

    def start(self, background: bool = False) -> None:
        """Limit the group and have the warden fork; what goes wrong is heard by the listener, perhaps at once.

        In the background it gives way to what runs, until it is parked or `hurry` is called.
        """
        self._timers = [self._loop.after(self.warden.patience_s, self._on_park_timeout)]
        with self._inner:
            try:
                self._set_limits(self._limits)
                if background:
                    self._group.set_background(True)
                    self._is_background = True
                self._memory_event = self._group.watch_memory()
                if self._memory_event is not None:
                    self._loop.watch(self._memory_event, self._on_memory)
                joins = self._group.join_descriptors()
            except OSError as error:
                self._forking = False
                self.fail("cgroup", str(error))
                return
            try:
                order = {
                    "step": self.step.id, "warm": self._warm, "uid": self.uid,
                    "placeholders": placeholders(self.step, self._limits),
                }  # fmt: skip
                self.warden.fork(self.number, order, self._inner.fileno(), joins, self._forked, self._program_ended)
            finally:
                wire.close_all(joins)

    def hurry(self) -> None:
        """Somebody waits for it."""
        if self._is_background:
            self._is_background = False
            try:
                self._group.set_background(False)
            except OSError as error:
                self.fail("cgroup", str(error))

    def _set_limits(self, limits: Limits) -> None:
        memory_bytes = limits.memory_bytes - self._baseline_bytes
        if memory_bytes <= 0:
            raise TooSmall(f"{limits.memory_bytes} bytes, the interpreter alone takes {self._baseline_bytes}")
        changed = dataclasses.replace(limits, memory_bytes=memory_bytes, processes=limits.processes + OUR_PROCESSES)
        self._group.set_limits(changed)

    def _on_park_timeout(self) -> None:
        """A warden that does not even fork hangs, and every jail after this one would too."""
        if self._forking:
            self.warden.close(f"did not fork within {self.warden.patience_s:.0f} s")
        else:
            self.fail("park", f"not ready after {self.warden.patience_s:.0f} s")

    def _on_memory(self) -> None:
        assert self._memory_event is not None
        os.read(self._memory_event, EVENTFD_BYTES)
        self.kill(KilledBy.MEMORY)

    def __repr__(self) -> str:
        return f"<Jail {self.number} {self.warden.plan.id}/{self.step.id}: {self.state}, uid {self.uid}>"

    # -- from the warden and from init

    def _forked(self, pidfds: list[int], reason: str) -> None:
        self._forking = False
        self._pidfd = pidfd = pidfds[0] if pidfds else None
        self._program_pidfd = pidfds[1] if len(pidfds) > 1 else None
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
                self.pipes, descriptors[:] = list(descriptors), []
                self.parked_bytes = self._group.memory_bytes()
                self._replace_timers()
                self.hurry()
                self.listener.parked(self)
            case "status", State.RUNNING if _is_wait_status(status) and not self._is_fork:
                if status == 0 and self.step.leaves_artifact is not None and descriptors:
                    self._artifact = artifact.accept(descriptors[0])
                self._program_ended(status, waits=message.get("waits") is True)
            case "failed", State.STARTING | State.PARKED | State.RUNNING:
                self.fail(_short(message.get("stage")), _short(message.get("reason")))
            case _:
                self.fail("init", "spoke out of turn")

    def _program_ended(self, status: object, waits: bool = False) -> None:
        """Its status from init, or from the warden whose fork it was; it may be alive and wait to be killed."""
        if self._is_fork and self.state is State.RUNNING:
            self._receive()  # of what went wrong before it was the program, else that it closed the channel
        if self.state in (State.STARTING, State.PARKED):
            self.fail("program", f"ended before go: wait status {status}")
        if self.state is not State.RUNNING or not _is_wait_status(status):
            return
        assert isinstance(status, int)
        self._wait_status = status
        self._ended_ns = time.monotonic_ns()
        if self._killed_by is None and (self._is_alone() if waits else self._is_empty()):
            self._tell()  # the rest is not waited for
        self._end()

    def _is_empty(self) -> bool:
        try:
            return self._group.tasks() <= OUR_PROCESSES
        except OSError:
            return False

    def _is_alone(self) -> bool:
        """Only the program itself is there, with whatever threads."""
        try:
            return self._group.processes() <= OUR_PROCESSES + 1
        except OSError:
            return False

    def _lost(self) -> None:
        """Init went without a word: our own kill, the jail's own OOM, else our failure; `_settle` tells which."""
        self._close_channel()
        if self.state in (State.STARTING, State.PARKED):
            self.fail("init", "ended before go")
        elif self.state is State.RUNNING and not self._is_fork:
            self._end()

    def _unwatch_channel(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.unwatch(self._channel.fileno())

    def _close_channel(self) -> None:
        self._unwatch_channel()
        self._channel.close()

    # -- from the listener

    def expect_go(self) -> None:
        """Given away, and not used in time is destroyed."""
        seconds = self.warden.patience_s
        self._replace_timers(self._loop.after(seconds, lambda: self.fail("idle", f"not used in {seconds:.0f} s")))

    def close_pipes(self) -> None:
        """Our copies; called once they have been handed on."""
        wire.close_all(self.pipes)
        self.pipes = []

    def go(self, limits: Limits, payload: str, descriptors: list[int], files: bool = False) -> None:
        """Write the limits, start the clock, forward. Raises Refused with nothing done.

        The descriptors are source and artefact where the step takes them, then `files`, packed.
        """
        if self.state is not State.PARKED:
            raise Refused(f"the jail is {self.state}, not parked")
        beyond = limits.within(self.step.maximum)
        if beyond is not None:
            raise Refused(f"limit {beyond} is out of range")
        expected = (self.step.source_name is not None) + (self.step.takes_artifact is not None) + files
        if len(descriptors) != expected:
            raise Refused(f"{len(descriptors)} descriptors, the step takes {expected}")
        if self.step.takes_artifact is not None and not artifact.is_sealed(descriptors[-2 if files else -1]):
            raise Refused("the artefact is not sealed")
        try:
            self._cpu_before_ns = self._group.cpu_ns()
            if limits != self._limits:
                self._set_limits(limits)
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
        self._replace_timers(self._loop.after(limits.wall_ns / 1e9, self._on_wall))
        if limits.cpu_ns is not None:
            self._watch_cpu()
        order = {"type": "go", "placeholders": placeholders(self.step, limits), "payload": payload, "files": files}
        try:
            wire.send(self._channel, order, tuple(descriptors))
        except OSError:
            self._end()
        if self._is_fork:
            self._unwatch_channel()  # it closes it now: nothing to wake up for while it runs

    def _on_wall(self) -> None:
        """Too long, unless the program is dead and its warden has not told us: then that is what hangs."""
        if self._program_pidfd is not None and _is_dead(self._program_pidfd):
            self.fail("program", "its end was not told")
            self.warden.close("did not tell of a program's end")
        self.kill(KilledBy.WALL)

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
        self._ended_ns = self._ended_ns or time.monotonic_ns()
        self._replace_timers()
        if self._forking:  # nothing can be killed before the warden has answered
            self._timers = [self._loop.after(self.warden.patience_s, self._on_park_timeout)]
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
            if self._is_fork and self.state is State.RUNNING:
                self._end()  # the warden would have told of the program first
            elif not self._receive():
                self._lost()
        self._settle()

    def _settle(self) -> None:
        """Everything of the jail is dead: read the figures, answer, remove the group."""
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self._close_channel()
        if self._memory_event is not None:
            self._loop.unwatch(self._memory_event)
            os.close(self._memory_event)
        self.warden.forget(self.number)
        if self._program_pidfd is not None:
            os.close(self._program_pidfd)
            self._program_pidfd = None
        self.close_pipes()
        self._tell()
        self._remove()

    def _tell(self) -> None:
        """The answer, once: an outcome after go, a refusal before it."""
        if self._told:
            return
        self._told = True
        try:
            if self._went:
                self.listener.outcome(self, self._outcome(), self._artifact)
            else:
                stage, reason = self._failure or ("kill", str(self._killed_by))
                self.listener.refused(self, stage, reason)
        finally:
            if self._artifact is not None:
                os.close(self._artifact)

    def _outcome(self) -> Outcome:
        wall_ns = self._ended_ns - self._started_ns
        try:
            memory = self._group.out_of_memory(told=self._killed_by is KilledBy.MEMORY)
            cpu_ns, peak_bytes = self._cpu_used_ns(), self._group.peak_memory_bytes()
            if peak_bytes is not None:
                peak_bytes += self._baseline_bytes
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
            self._on_removed(self)
        else:
            self._loop.after(REMOVE_RETRY_S, self._remove)  # a dead process leaves its group a moment later

    def _replace_timers(self, *timers: Timer) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = list(timers)


def placeholders(step: StepPlan, limits: Limits) -> dict[str, int]:
    """What a command may name of its limits (toolchain/schema.py, RUN_PLACEHOLDERS)."""
    return {
        "memory_mb": limits.memory_bytes // MB, "processes": limits.processes, "stack_mb": step.jail.stack_bytes // MB,
    }  # fmt: skip


def _is_dead(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _is_wait_status(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= 0xFFFF


def _short(value: object) -> str:
    """What a jail's init says, short and on one line: after go it may be anything."""
    return ascii(str(value)[:200])[1:-1]
