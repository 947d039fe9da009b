"""One single-use jail with all that the keeper holds of it: group, channel, pidfds, pipes. It performs what jail_state
decides, and turns what the kernel, the warden and the jail say into events.

Its owner hears News: a pool until the jail is given away, then a run. Ends are told one turn of the loop later.
"""

import contextlib
import dataclasses
import logging
import os
import select
import signal
import socket
from collections.abc import Callable

from daemon.host.cgroup import Group, TooSmall, Tree
from daemon.host.processes import is_regular_file
from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages, wire
from daemon.sandbox.model import MAX_ARTIFACT_BYTES, KilledBy, Limits, Outcome, Usage
from daemon.sandbox.plan import StepPlan, Warm

from . import jail_state as states
from .end_cause import Signs, cause
from .kinds import KINDS, OUR_PROCESSES, Kind, at_go, at_start
from .loop import Loop
from .machine import Machine
from .warden import Order, Warden

log = logging.getLogger("cellblock.keeper")

EVENTFD_BYTES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Parked:
    """News: it waits for go."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """News: nothing ran."""

    stage: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """News: what became of the run. `artifact` is lent for the call."""

    outcome: Outcome
    artifact: int | None


News = Parked | Refused | Ended


class Jail:
    """`owner` hears its news, `on_gone` that nothing is left of it. Made with its group, or OSError and nothing.

    `limits` are those that it is parked with. `baseline_bytes` count as used by it: memory that it shares with its
    warden. `pipes` are the far ends of stdin, stdout and stderr once it is parked, `parked_bytes` its memory then.
    """

    def __init__(
        self, loop: Loop, tree: Tree, warden: Warden, step: StepPlan, number: int, limits: Limits, warm: Warm,
        baseline_bytes: int, owner: Callable[[News], None], on_gone: Callable[["Jail"], None],
    ) -> None:  # fmt: skip
        self.number, self.step, self.warden, self.owner = number, step, warden, owner
        self.pipes: list[int] = []
        self.parked_bytes = 0
        self._kind: Kind = KINDS[warm]
        self._warm, self._limits, self._baseline_bytes, self._on_gone = warm, limits, baseline_bytes, on_gone
        self._guard = loop.guard(self._broke)
        self._init: int | None = None  # pidfd
        self._program: int | None = None  # pidfd, of a fork
        self._artifact: int | None = None
        self._memory_event: int | None = None
        self._cpu_before_ns: int | None = None
        self._is_background = self._is_channel_watched = False
        self._group: Group = tree.make(f"jail-{number}")
        try:
            self._channel, self._inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.uid = warden.take_uid()
        except OSError:
            self._group.remove()
            raise
        self._channel.setblocking(False)
        self._machine = Machine(
            self._guard, states.new(warden.patience_s, warden.clock()), states.decide, states.due, self._perform,
            warden.clock,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Jail {self.number} {self.warden.toolchain}/{self.step.id}: {self.phase}, uid {self.uid}>"

    @property
    def phase(self) -> states.Phase:
        return self._machine.state.phase

    # -- what others ask of it

    def start(self, background: bool = False) -> None:
        """Limit the group and ask the warden. In the background it gives way to what runs, until parked or hurried."""
        self._guard.call(lambda: self._start(background))

    def hurry(self) -> None:
        """Somebody waits for it: the usual share of the processors from now on."""
        if self._is_background:
            self._is_background = False
            self._guard.call(lambda: self._group.set_background(False))

    def go(self, limits: Limits, args: tuple[str, ...], given: list[int], has_files: bool) -> str | None:
        """Set the limits, start the clock, send go. The reason where it is refused: nothing was done then.

        `given` are lent: source and artefact, each where the step takes it, then files.
        """
        reason = self._why_not(limits, given, has_files)
        if reason is not None:
            return reason
        too_small = False
        try:
            self._cpu_before_ns = self._group.cpu_ns()
            if limits != self._limits:
                self._set_limits(limits)
        except TooSmall:
            too_small = True  # it uses more than that already: the limit is met at once
        except OSError as error:
            return str(error)
        self._limits = limits
        self._machine.feed(states.Went(limits.wall_ns / 1e9, limits.cpu_ns, os.cpu_count() or 1, too_small))
        if not too_small:
            self._send_go(args, given, has_files)
        return None

    def kill(self, why: KilledBy) -> None:
        """End it; the first reason counts. Nothing happens to one that is ending."""
        self._machine.feed(states.Kill(why))

    def fail(self, stage: str, reason: str) -> None:
        """Our own failure: no verdict may come of it."""
        self._machine.feed(states.Fail(stage, reason))

    def close_pipes(self) -> None:
        """The keeper's copies, once they have been handed on."""
        pipes, self.pipes = self.pipes, []
        fds.close_all(pipes)

    # -- before go

    def _start(self, background: bool) -> None:
        with self._inner:
            self._guard.watch(self._channel.fileno(), self._on_channel)
            self._is_channel_watched = True
            self._set_limits(self._limits)
            if background:
                self._group.set_background(True)
                self._is_background = True
            self._memory_event = self._group.watch_memory()
            if self._memory_event is not None:
                self._guard.watch(self._memory_event, self._on_memory)
            joins = self._group.join_descriptors()
            try:
                make = messages.Make(
                    self.number, self.step.id, self._warm, self.uid, at_start(self.step, self._warm, self._limits)
                )
                self.warden.make(
                    Order(make, self._on_made, self._on_not_made, self._on_fork_ended), [self._inner.fileno(), *joins]
                )
            finally:
                fds.close_all(joins)

    def _broke(self, error: Exception) -> None:
        if self.phase is states.Phase.MAKING and not self.warden.is_asked(self.number):
            self._machine.feed(states.NotMade(repr(error)))  # the warden has not even been asked
        else:
            self.fail("keeper", repr(error))

    def _set_limits(self, limits: Limits) -> None:
        memory_bytes = limits.memory_bytes - self._baseline_bytes
        if memory_bytes <= 0:
            raise TooSmall(f"{limits.memory_bytes} bytes, the interpreter alone takes {self._baseline_bytes}")
        processes = limits.processes + OUR_PROCESSES
        self._group.set_limits(dataclasses.replace(limits, memory_bytes=memory_bytes, processes=processes))

    def _why_not(self, limits: Limits, given: list[int], has_files: bool) -> str | None:
        step = self.step
        if self.phase is not states.Phase.PARKED:
            return f"the jail is {self.phase}, not parked"
        beyond = limits.within(step.maximum)
        if beyond is not None:
            return f"limit {beyond} is out of range"
        expected = (step.source_name is not None) + (step.takes_artifact is not None) + has_files
        if len(given) != expected:
            return f"{len(given)} descriptors, the step takes {expected}"
        if step.takes_artifact is not None and not fds.is_sealed(given[-2 if has_files else -1]):
            return "the artefact is not sealed"
        return None

    def _send_go(self, args: tuple[str, ...], given: list[int], has_files: bool) -> None:
        strings = at_go(self.step, self._warm, self._limits, args)
        go = messages.Go(self.step.source_name is not None, self.step.takes_artifact is not None, has_files, strings)
        try:
            wire.send(self._channel, go.encode(), given)
        except (OSError, ValueError) as error:
            self.fail("go", str(error))
            return
        if self._kind.closes_channel_at_go:
            self._unwatch_channel()  # nothing to wake up for while it runs

    # -- from the warden

    def _on_made(self, pidfds: list[int]) -> None:
        """Takes the pidfds: of init and, of a fork, of its program."""
        self._init, self._program = pidfds[0], pidfds[1] if len(pidfds) > 1 else None
        self._guard.watch(self._init, self._on_init_dead)
        self._machine.feed(states.Made())

    def _on_not_made(self, reason: str) -> None:
        self._machine.feed(states.NotMade(reason))

    def _on_fork_ended(self, status: int) -> None:
        if self.phase is states.Phase.RUNNING:
            while self._receive():  # what went wrong before it was the program was said before it ended
                pass
        self._machine.feed(states.ProgramEnded(status, self._is_alone(OUR_PROCESSES)))

    def _is_alone(self, processes: int, lingers: bool = False) -> bool:
        """Nothing is alive beside what is ours (and the program that lingers); asked only where the answer counts."""
        if self._machine.state.killed_by is not None:
            return False
        try:
            return (self._group.processes() if lingers else self._group.tasks()) <= processes
        except OSError:
            return False

    # -- from the jail

    def _on_channel(self) -> None:
        self._receive()

    def _receive(self) -> bool:
        """Hear one message or the end; False when there is neither."""
        if not self._is_channel_watched and not self._kind.closes_channel_at_go:
            return False
        try:
            received = wire.receive(self._channel)
        except BlockingIOError:
            return False
        except (OSError, messages.BadMessage):
            received = None
        if received is None:
            self._unwatch_channel()
            self._machine.feed(states.ChannelClosed(self._kind.closes_channel_at_go))
            return False
        data, descriptors = received
        try:
            self._hear(messages.decode_reply(data, len(descriptors)), descriptors)
        except messages.BadMessage as error:
            self.fail("init", str(error))
        finally:
            fds.close_all(descriptors)
        return True

    def _hear(self, reply: messages.Reply, descriptors: list[int]) -> None:
        """Takes descriptors out of the list that it keeps."""
        match reply:
            case messages.Parked() if self.phase in (states.Phase.MAKING, states.Phase.STARTING) and not self.pipes:
                self.pipes, descriptors[:] = list(descriptors), []
                self.parked_bytes = self._group.memory_bytes()
                self.hurry()
                self._machine.feed(states.IsParked())
            case messages.Status(status, lingers) if not self._kind.closes_channel_at_go:
                is_wanted = status == 0 and self.step.leaves_artifact is not None and self._artifact is None
                if is_wanted and descriptors and is_regular_file(descriptors[0], MAX_ARTIFACT_BYTES):
                    self._artifact = descriptors.pop()
                is_alone = self._is_alone(OUR_PROCESSES + lingers, lingers)
                self._machine.feed(states.ProgramEnded(status, is_alone))
            case messages.Failed(stage, reason):
                self.fail(stage, reason)
            case _:
                self.fail("init", "spoke out of turn")

    def _unwatch_channel(self) -> None:
        if self._is_channel_watched:
            self._is_channel_watched = False
            self._guard.unwatch(self._channel.fileno())

    # -- from the kernel

    def _on_init_dead(self) -> None:
        assert self._init is not None
        self._guard.unwatch(self._init)
        os.close(self._init)
        self._init = None
        while self._receive():  # its last words came before its death
            pass
        self._machine.feed(states.AllDead())

    def _on_memory(self) -> None:
        assert self._memory_event is not None
        os.read(self._memory_event, EVENTFD_BYTES)
        self.kill(KilledBy.MEMORY)

    # -- what the state decides

    def _perform(self, effect: states.Effect) -> None:
        match effect:
            case states.TellParked():
                self.owner(Parked())
            case states.TellRefused(stage, reason):
                self._tell_later(Refused(stage, reason))
            case states.TellOutcome():
                self._tell_later(Ended(self._outcome(), self._artifact))
            case states.KillAll():
                self._kill_all()
            case states.BlameWarden(reason):
                self.warden.close(reason)
            case states.AskIfDead():
                is_dead = self._program is not None and _is_dead(self._program)
                self._machine.feed(states.WallPassed(is_dead))
            case states.LookAtCpu():
                self._machine.feed(states.CpuUsed(self._cpu_used_ns()))
            case states.Release():
                self._machine.feed(states.Removed(self._release()))
            case states.Log(text):
                log.warning("jail %d (%s/%s): %s", self.number, self.warden.toolchain, self.step.id, text)
            case states.Forget():
                self.warden.give_uid(self.uid)
                self._guard.soon(lambda: self._on_gone(self))

    def _tell_later(self, news: News) -> None:
        owner, artifact = self.owner, self._artifact
        self._artifact = None

        def tell() -> None:
            try:
                owner(news)
            finally:
                if artifact is not None:
                    os.close(artifact)

        self._guard.soon(tell)

    def _kill_all(self) -> None:
        try:
            self._group.lift_cpu_quota()
        except OSError as error:
            log.warning("jail %d: %s", self.number, error)
        try:
            self._group.kill()
        finally:
            if self._init is not None:
                with contextlib.suppress(ProcessLookupError):  # it is a zombie already; the pidfd says so too
                    signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def _release(self) -> bool:
        """Close what is open; True once the group is removed."""
        self._unwatch_channel()
        self._channel.close()
        self.warden.forget(self.number)
        if self._memory_event is not None:
            self._guard.unwatch(self._memory_event)
            os.close(self._memory_event)
            self._memory_event = None
        if self._program is not None:
            os.close(self._program)
            self._program = None
        self.close_pipes()
        return self._group.remove()

    def _cpu_used_ns(self) -> int | None:
        now_ns = self._group.cpu_ns()
        return None if now_ns is None or self._cpu_before_ns is None else now_ns - self._cpu_before_ns

    def _outcome(self) -> Outcome:
        state = self._machine.state
        wall_ns = max(0, int((state.ended_s - state.started_s) * 1e9))
        try:
            memory = self._group.out_of_memory(told=state.killed_by is KilledBy.MEMORY)
            cpu_ns, peak_bytes = self._cpu_used_ns(), self._group.peak_memory_bytes()
        except OSError as error:  # somebody removed the group under us: no figures, so no verdict
            log.warning("jail %d: %s", self.number, error)
            return Outcome(None, KilledBy.LOST, Usage(wall_ns, None, None))
        signs = Signs(
            killed_by=state.killed_by, failed=state.failure is not None, wait_status=state.status, memory=memory,
            too_small=state.too_small, cpu_ns=cpu_ns, cpu_limit_ns=self._limits.cpu_ns,
        )  # fmt: skip
        used_bytes = None if peak_bytes is None else peak_bytes + self._baseline_bytes
        return Outcome(state.status, cause(signs), Usage(wall_ns, cpu_ns, used_bytes))


def _is_dead(pidfd: int) -> bool:
    """pidfd_open(2): readable once the process has ended, as a zombie too."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
