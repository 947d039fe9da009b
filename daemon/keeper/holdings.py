"""What the keeper holds of one jail: its control group, channel, pidfds and pipes; and the figures it reads there."""

import contextlib
import dataclasses
import logging
import os
import select
import signal
import socket
from collections.abc import Iterable

from daemon.host.cgroup import Group, TooSmall, Tree
from daemon.host.processes import is_ending, is_regular_file, opened, waited_ns
from daemon.sandbox import descriptors as fds
from daemon.sandbox.messages import Run
from daemon.sandbox.model import MAX_ARTIFACT_BYTES, KilledBy, Limits, Outcome, Usage

from .end_cause import Signs, cause
from .jail_state import State
from .kinds import OUR_PROCESSES, PROGRAM_PID

log = logging.getLogger("cellblock.keeper")

EVENTFD_BYTES = 8


class Holdings:
    """Made with the group and the channel, or OSError and nothing. `jails_end` is the jail's end of the channel.

    `init` and `program` are pidfds, the latter of a fork only; `memory_event` becomes readable when the group is out of
    memory, where the kernel does not kill all of it itself. `pipes` are the far ends of stdin, stdout and stderr.
    `baseline_bytes` count as used by it: memory that it shares with its warden. `leaves`: files that its step leaves.
    """

    def __init__(self, tree: Tree, baseline_bytes: int, leaves: int) -> None:
        self._baseline_bytes, self._leaves = baseline_bytes, leaves
        self.init: int | None = None
        self.program: int | None = None
        self.memory_event: int | None = None
        self.pipes: list[int] = []
        self._left: dict[int, int] = {}
        self._cpu_before_ns: int | None = None
        self._tree = tree
        self._may_be_kept = False
        self.channel, self.jails_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        try:
            self.group: Group = tree.take()
        except OSError:
            self.channel.close()
            self.jails_end.close()
            raise

    def set_limits(self, limits: Limits) -> None:
        """Raises OSError: a run must not go on without its limits; TooSmall where more memory is used already."""
        memory_bytes = limits.memory_bytes - self._baseline_bytes
        if memory_bytes <= 0:
            raise TooSmall(f"{limits.memory_bytes} bytes, the interpreter alone takes {self._baseline_bytes}")
        processes = limits.processes + OUR_PROCESSES
        self.group.set_limits(dataclasses.replace(limits, memory_bytes=memory_bytes, processes=processes))

    def place(self, core: int | None, order: Run, has_started: bool) -> int | None:
        """Pin it to its core, where it has one; prefer it, where a graded run waits for it; else lessen it, where it is
        one of many of its client's.

        What the process that starts the program is to join (Group.pin); None where all is done. Raises OSError.
        """
        self._leaves = self._leaves or len(order.leaves)
        if order.held:
            self.group.prefer()
        elif core is None and order.sharing > 1:
            self.group.lessen(order.sharing)
        if core is None:
            return None
        if has_started:
            self.group.pin_started(core)
            return None
        return self.group.pin(core)

    def has_met_memory_limit(self, told: bool = False) -> bool:
        """The kernel killed for want of memory, and the limit was the jail's own; False where it does not tell."""
        try:
            return self.group.out_of_memory(told).own
        except (OSError, ValueError, KeyError):
            return False

    def is_alone(self, processes: int, lingers: bool) -> bool:
        """True when no more than so many threads of processes are alive; of one that lingers, processes are counted."""
        try:
            return (self.group.processes() if lingers else self.group.tasks()) <= processes
        except OSError:
            return False

    def is_program_alive(self) -> bool:
        """Of a fork its pidfd tells (pidfd_open(2): readable once the process has ended, as a zombie too). Of a command
        there is none: something of it is alive when more than the jail's init is."""
        if self.program is None:
            return not self.is_alone(OUR_PROCESSES, lingers=True)
        poll = select.poll()
        poll.register(self.program, select.POLLIN)
        return not poll.poll(0)

    def signal(self, numbers: Iterable[int]) -> bool:
        """Send signals to the program; False where there is none.

        What the kernel does not take is lost: a real-time signal for which there is no room (sigqueue(3), EAGAIN).
        """
        if self.program is not None:
            _send(self.program, numbers)
            return True
        try:
            program = opened(self.group.process_ids, PROGRAM_PID)
        except OSError:
            return False
        if program is None:
            return False
        try:
            _send(program, numbers)
        finally:
            os.close(program)
        return True

    def ended_with_init(self, status: int) -> bool:
        """A program's wait status is SIGKILL because somebody killed init, and the kernel all of its pid namespace
        for that (pid_namespaces(7)). Init is no zombie yet when they are told of."""
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return is_killed and (self.init is None or is_ending(self.init))

    def take_memory_event(self) -> bool:
        """Whether it tells of this group's own limit: a shortage of all jails together is told to each of them, and the
        kernel chooses whom to end. It is readable no more, until memory is short again."""
        assert self.memory_event is not None
        os.read(self.memory_event, EVENTFD_BYTES)
        return self.has_met_memory_limit(told=True)

    def waited_s(self) -> float:
        """The longest that a thread in the group has waited for a processor in its life; 0.0 where nothing tells."""
        try:
            return max((waited_ns(thread) for thread in self.group.threads()), default=0) / 1e9
        except OSError:
            return 0.0

    def keep_left(self, left: dict[int, int]) -> None:
        """Take the descriptors of what the step left, by number, in place of earlier ones. Plain files of a bounded
        size are kept, and no more of them than the run may leave."""
        fds.close_all(self.take_left().values())
        for number, descriptor in left.items():
            if number < self._leaves and is_regular_file(descriptor, MAX_ARTIFACT_BYTES):
                self._left[number] = descriptor
            else:
                os.close(descriptor)

    def take_left(self) -> dict[int, int]:
        """The caller's to close."""
        left, self._left = self._left, {}
        return left

    # -- figures

    def start_clock(self) -> None:
        """CPU time counts from now on. Raises OSError."""
        self._cpu_before_ns = self.group.cpu_ns()

    def cpu_used_ns(self) -> int | None:
        """Since `start_clock`; None: the kernel does not tell. Raises OSError."""
        now_ns = self.group.cpu_ns()
        return None if now_ns is None or self._cpu_before_ns is None else now_ns - self._cpu_before_ns

    def outcome(self, state: State, limits: Limits) -> Outcome:
        """What became of the run; LOST where the figures cannot be read: no figures, so no verdict."""
        wall_ns = max(0, int((state.ended_s - state.started_s) * 1e9))
        try:
            memory = self.group.out_of_memory(told=state.killed_by is KilledBy.MEMORY)
            cpu_ns, peak_bytes = self.cpu_used_ns(), self.group.peak_memory_bytes()
            lacked_processes = self.group.lacked_processes()
        except (OSError, ValueError, KeyError) as error:  # somebody removed the group under us
            log.warning("%s: %s", self.group.name, error)
            return Outcome(None, KilledBy.LOST, Usage(wall_ns, None, None))
        self._may_be_kept = True
        signs = Signs(
            killed_by=state.killed_by, failed=state.failure is not None, wait_status=state.status, memory=memory,
            too_small=state.too_small, cpu_ns=cpu_ns, cpu_limit_ns=limits.cpu_ns,
            lacked_processes=lacked_processes,
        )  # fmt: skip
        used_bytes = None if peak_bytes is None else peak_bytes + self._baseline_bytes
        return Outcome(state.status, cause(signs), Usage(wall_ns, cpu_ns, used_bytes))

    # -- the end

    def kill(self) -> None:
        """Lift the CPU quota, because a throttled process dies slowly, and kill all processes. Raises OSError.

        Init's death ends all others (pid_namespaces(7)), but not before init has come to die: among 64 processes that
        spin it waited up to 80 ms for its turn. So each is killed, but where one at most is left beside init.
        """
        try:
            self.group.lift_cpu_quota()
        except OSError as error:
            log.warning("%s: %s", self.group.name, error)
        try:
            if self.init is not None:
                signal.pidfd_send_signal(self.init, signal.SIGKILL)
        except ProcessLookupError:
            return  # it is a zombie already, and all others are dead; the pidfd says so too
        if self.init is None or not self.is_alone(OUR_PROCESSES, lingers=False):
            self.group.kill()

    def close_pipes(self) -> None:
        """The keeper's copies."""
        pipes, self.pipes = self.pipes, []
        fds.close_all(pipes)

    def release(self) -> bool:
        """Close everything, which nothing watches any more; True once the group is kept for another jail or removed.

        It is kept only where it served a run to the end: a jail that could not be made may not have joined all of it.
        """
        self.channel.close()
        self.jails_end.close()
        fds.close_all(self.take_left().values())
        if self.program is not None:
            os.close(self.program)
            self.program = None
        self.close_pipes()
        if self._may_be_kept and self._tree.keep(self.group):
            return True
        self._may_be_kept = False  # from now on parts of it may be gone
        return self.group.remove()


def _send(program: int, numbers: Iterable[int]) -> None:
    for number in numbers:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(program, number)
