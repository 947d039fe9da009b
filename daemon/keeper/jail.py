"""One single-use jail from the keeper's side.

It performs what jail_state decides, and turns what the kernel, the warden and the jail say into events.

Its owner hears News: a pool until the jail is given away, then a run. Ends are told one turn of the loop later.
"""

import dataclasses
import logging
import os
import re
import signal
from collections.abc import Callable

from daemon.host import cgroup
from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages, wire
from daemon.sandbox.model import KilledBy, Limits, Outcome
from daemon.sandbox.plan import StepPlan, Warm

from . import jail_events as ev
from . import jail_state as states
from .holdings import Holdings
from .kinds import KINDS, OUR_PROCESSES, Kind, at_start, go_message
from .loop import Guard, Loop
from .machine import Machine
from .signals import Signals
from .warden import MakeRequest, Warden

log = logging.getLogger("cellblock.keeper")

ENDED_BEFORE_GO = re.compile(r"the program ended before go: wait status (\d+)")  # so jail.c tells it
CORES = os.cpu_count() or 1  # asking costs a file of /sys each time


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
    """News: what became of the run. `left`, files by their number among what the step leaves, is lent for the call."""

    outcome: Outcome
    left: dict[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class TooSmall:
    """News: its command ended before go, within less memory than the step's own: its memory limit was met."""


News = Parked | Refused | TooSmall | Ended


class Jail:
    """`owner` hears its news, `on_gone` that nothing is left of it. Made with its group, or OSError and nothing.

    It is parked with `limits`, and holds `parked_bytes` then. `baseline_bytes`, its warden's, count as used by it, too.
    """

    def __init__(
        self, loop: Loop, tree: cgroup.Tree, warden: Warden, step: StepPlan, number: int, limits: Limits, warm: Warm,
        baseline_bytes: int, owner: Callable[[News], None], on_gone: Callable[["Jail"], None],
    ) -> None:  # fmt: skip
        self.number, self.step, self.warden, self.owner = number, step, warden, owner
        self.parked_bytes = 0
        self._kind: Kind = KINDS[warm]
        self._warm, self._limits, self._on_gone = warm, limits, on_gone
        self._guard = loop.guard(self._broke)
        self._signals = Signals(self._guard, lambda them: self.phase not in states.GOING_ON or self._holds.signal(them))
        self._is_background = self._is_channel_watched = self._is_channel_over = False
        self.lent = warden.lender.take()
        try:
            self._holds = Holdings(tree, baseline_bytes, len(step.leaves))
        except OSError:
            warden.lender.give(self.lent)
            raise
        state = states.new(warden.patience_s, warden.clock())
        self._machine = Machine(self._guard, state, states.decide, states.due, self._perform, warden.clock)

    def __repr__(self) -> str:
        return f"<Jail {self.number} {self.warden.toolchain}/{self.step.id}: {self.phase}, uid {self.lent.uid}>"

    @property
    def phase(self) -> states.Phase:
        """Where it is in its life."""
        return self._machine.state.phase

    # -- what others ask of it

    def start(self, background: bool = False) -> None:
        """Limit the group and ask the warden. In the background it gives way to what runs, until parked or hurried."""
        self._guard.call(lambda: self._start(background))

    def hurry(self) -> None:
        """Somebody waits for it: the usual share of the processors from now on."""
        if self._is_background:
            self._is_background = False
            self._guard.call(lambda: self._holds.group.set_background(False))

    def go(self, order: messages.Run, given: list[int], core: int | None = None) -> str | None:
        """Set the limits, start the clock, send go. The reason where it is refused: nothing was begun then.

        `given` are lent: source, artefact, files, input, each where it applies. kinds.why_not has checked all.
        With a `core` it is pinned to it first. One that was held goes as quickly as that: a graded run waits for it.
        """
        if self.phase is not states.Phase.PARKED:
            return f"the jail is {self.phase}, not parked"
        limits, too_small, started_s = order.limits, False, self.warden.clock()
        try:
            join = self._holds.place(core, order, self._kind.starts_before_go)
            self._holds.start_clock()
            if limits != self._limits:
                self._holds.set_limits(limits)
            self._limits = limits
            started_s = self.warden.clock()
            self._send_go(order, given, join)
        except cgroup.TooSmall:
            too_small = True  # it uses more than that already: the limit is met at once
        except (OSError, ValueError) as error:
            too_small = self._holds.has_met_memory_limit()  # v2 meets a new limit by killing what is there
            if not too_small:
                return str(error)
        cores, by_warden = CORES if core is None else 1, self._kind.closes_channel_at_go
        sent = ev.GoSent(started_s, limits.wall_ns / 1e9, limits.cpu_ns, cores, too_small, by_warden, order.graded)
        self._machine.feed(sent)
        return None

    def kill(self, why: KilledBy) -> None:
        """End it; the first reason counts. Nothing happens to one that is ending."""
        self._machine.feed(ev.Kill(why))

    def signal(self, number: int) -> None:
        """Send a signal to its program, as soon as there is one. Nothing happens before go, and when it is ending."""
        if self.phase in states.GOING_ON:
            self._signals.want(number)

    def fail(self, stage: str, reason: str) -> None:
        """Our own failure: no verdict may come of it."""
        self._machine.feed(ev.Fail(stage, reason))

    @property
    def pipes(self) -> list[int]:
        """The far ends of stdin, stdout and stderr, once it is parked and until `close_pipes`."""
        return self._holds.pipes

    def close_pipes(self) -> None:
        """The keeper's copies, once they have been handed on."""
        self._holds.close_pipes()

    # -- before go

    def _start(self, background: bool) -> None:
        holds = self._holds
        with holds.jails_end:
            self._guard.watch(holds.channel.fileno(), self._receive)
            self._is_channel_watched = True
            holds.set_limits(self._limits)
            if background:
                holds.group.set_background(True)
                self._is_background = True
            holds.memory_event = holds.group.watch_memory()
            if holds.memory_event is not None:
                self._guard.watch(holds.memory_event, self._on_memory)
            strings = at_start(self.step, self._warm, self._limits)
            make = messages.Make(self.number, self.step.id, self._warm, self.lent.uid, self.lent.network, strings)
            request = MakeRequest(
                make, self._on_made, lambda why: self._machine.feed(ev.NotMade(why)), self._on_fork_ended
            )
            self.warden.make(request, [holds.jails_end.fileno(), *holds.group.join_descriptors()])

    def _broke(self, error: Exception) -> None:
        if self.phase is states.Phase.MAKING and not self.warden.is_asked(self.number):
            self._machine.feed(ev.NotMade(repr(error)))  # the warden has not even been asked
        else:
            self.fail("keeper", repr(error))

    def _send_go(self, order: messages.Run, given: list[int], join: int | None) -> None:
        go = go_message(self.step, self._warm, order, given, joins=join is not None)
        wire.send(self._holds.channel, go.encode(), given if join is None else [*given, join])
        if self._kind.closes_channel_at_go:
            self._unwatch_channel()  # nothing to wake up for while it runs

    # -- from the warden, the jail, the kernel

    def _on_made(self, pidfds: list[int]) -> None:
        """Takes the pidfds: of init and, of a fork, of its program."""
        self._holds.init, self._holds.program = pidfds[0], pidfds[1] if len(pidfds) > 1 else None
        self._machine.feed(ev.Made())  # first: what exists is killed, whatever fails
        self._guard.call(lambda: self._guard.watch(pidfds[0], self._on_init_dead))

    def _on_fork_ended(self, status: int) -> None:
        if self.phase in states.GOING_ON:
            self._hear_all()  # what went wrong before it was the program was said before it ended
        if not self._holds.ended_with_init(status):  # else that all is dead is told next
            self._machine.feed(ev.ProgramEnded(status, self._is_alone(OUR_PROCESSES)))

    def _is_alone(self, processes: int, lingers: bool = False) -> bool:
        """Nothing is alive beside what is ours (and the program that lingers); asked only where the answer counts."""
        return self._machine.state.killed_by is None and self._holds.is_alone(processes, lingers)

    def _receive(self) -> bool:
        """Hear one message or the end; False when there is neither."""
        if self._is_channel_over:
            return False
        try:
            received = wire.receive(self._holds.channel)
        except BlockingIOError:
            return False
        except (OSError, messages.BadMessage):
            received = None
        if received is None:
            self._is_channel_over = True
            self._unwatch_channel()
            self._machine.feed(ev.ChannelClosed(self._kind.closes_channel_at_go))
            return False
        data, descriptors = received
        try:
            self._hear(messages.decode_reply(data, len(descriptors)), descriptors)
        except messages.BadMessage as error:
            self.fail("init", str(error))
        finally:
            fds.close_all(descriptors)
        return True

    def _hear_all(self) -> None:
        while self._receive():
            pass

    def _hear(self, reply: messages.Reply, descriptors: list[int]) -> None:
        """Takes descriptors out of the list that it keeps."""
        match reply:
            case messages.Parked() if self.phase in (states.Phase.MAKING, states.Phase.STARTING) and not self.pipes:
                self._holds.pipes, descriptors[:] = list(descriptors), []
                self.parked_bytes = self._holds.group.memory_bytes()
                self.hurry()
                self._machine.feed(ev.IsParked())
            case messages.Status(status, lingers, ended_ns, left) if not self._kind.closes_channel_at_go:
                self._holds.keep_left(dict(zip(left, descriptors, strict=True)))
                descriptors.clear()
                is_alone = self._is_alone(OUR_PROCESSES + lingers, lingers)
                self._machine.feed(ev.ProgramEnded(status, is_alone, ended_ns / 1e9))
            case messages.Failed(stage, reason):
                self.fail(stage, reason)
            case _:
                self.fail("init", "spoke out of turn")

    def _unwatch_channel(self) -> None:
        if self._is_channel_watched:
            self._is_channel_watched = False
            self._guard.unwatch(self._holds.channel.fileno())

    def _on_init_dead(self) -> None:
        init, self._holds.init = self._holds.init, None
        assert init is not None
        self._guard.unwatch(init)
        os.close(init)
        self._hear_all()  # its last words came before its death
        self._machine.feed(ev.AllDead())

    def _on_memory(self) -> None:
        if self._holds.take_memory_event():
            self.kill(KilledBy.MEMORY)

    # -- what the state decides

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.TellParked():
                self.owner(Parked())
            case ev.TellRefused(stage, reason):
                news = _of_refusal(self._machine.state, self._holds, Refused(stage, reason), self._limits, self.step)
                _tell_later(self._guard, self.owner, news)
            case ev.TellOutcome():
                outcome = self._holds.outcome(self._machine.state, self._limits)
                _tell_later(self._guard, self.owner, Ended(outcome, self._holds.take_left()))
            case ev.KillAll():
                self._holds.kill()
            case ev.BlameWarden(reason):
                self.warden.close(reason)
            case ev.AskIfAlive():
                self._hear_all()
                self._machine.feed(ev.WallPassed(self._holds.is_program_alive(), self._holds.waited_s()))
            case ev.LookAtCpu():
                self._machine.feed(ev.CpuUsed(self._holds.cpu_used_ns()))
            case ev.Release():
                self._machine.feed(ev.Removed(self._release()))
            case ev.Log(text):
                where = self._holds.group.name
                log.warning("jail %d (%s/%s) in %s: %s", self.number, self.warden.toolchain, self.step.id, where, text)
            case ev.TellGone():
                self._guard.soon(lambda: self._on_gone(self))

    def _release(self) -> bool:
        """True once nothing is open and the group is removed."""
        self._unwatch_channel()
        self._is_channel_over = True
        if self._holds.memory_event is not None:
            self._guard.unwatch(self._holds.memory_event)
            self._holds.memory_event = None
        self.warden.forget(self.number)
        return self._holds.release()


def _of_refusal(
    state: states.State, holds: Holdings, refusal: Refused, limits: Limits, step: StepPlan
) -> Refused | TooSmall:
    """Of a jail that ended before go. A runtime ends by itself too, where it finds its memory too small."""
    told = ENDED_BEFORE_GO.match(refusal.reason)
    ended = told is not None and int(told[1]) != signal.SIGKILL  # that may be anybody's
    by = state.killed_by
    is_killed = by is not KilledBy.CLIENT and holds.has_met_memory_limit(by is KilledBy.MEMORY)
    is_less = limits.memory_bytes < step.default.memory_bytes
    return TooSmall() if is_less and (ended or is_killed) else refusal


def _tell_later(guard: Guard, owner: Callable[[News], None], news: News) -> None:
    """One turn of the loop later; what it left is closed after that."""

    def tell() -> None:
        try:
            owner(news)
        finally:
            if isinstance(news, Ended):
                fds.close_all(news.left.values())

    guard.soon(tell)
