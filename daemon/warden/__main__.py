"""The warden: pid 1 inside nsjail. It makes jails for the keeper, until the control socket ends.

The keeper starts it inside nsjail: by `python3 -I -S -c …`, or, where a step is warm by fork, by the step's own command
with toolchains/<id>/usercustomize.py, which calls `main`. Messages are those of daemon/sandbox/messages.py. A jail is
made by native/jail.c; this loop hears of the ends of its children and of its helpers. When the warden ends, for
whatever reason, the kernel ends every jail with it, because it is pid 1 of their outer pid namespace.
"""

import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from daemon.sandbox import linux, wire
from daemon.sandbox.descriptors import close_all
from daemon.sandbox.messages import (
    REASON_CHARACTERS,
    TO_WARDEN,
    BadMessage,
    Broken,
    ForkEnded,
    Made,
    Make,
    Message,
    NotMade,
    Ready,
    Setup,
    decode,
)
from daemon.sandbox.plan import ToolchainPlan, Warm

from . import description, prefault, rootfs
from .helpers import HelperDied, Maker, Zygote, fork_program
from .native import Native

DESCRIPTIONS_MAX = 64  # kept: a command line that names limits has one for each
_DEFECT = 99  # exit status
_kept: list[object] = []  # in a program too: to free them there would only copy pages


def main(control_fd: int, prepare: Callable[[], None] | None = None) -> list[str]:
    """Serve until the keeper is gone. Returns only in the process of a program that is a fork of this interpreter.

    What it returns is the program's arguments, at go. `prepare` is called once, before the first of them is forked and
    with pipes as standard streams.
    """
    try:
        return _main(control_fd, prepare)
    except HelperDied as error:
        print(f"warden: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    except BaseException:
        if os.getpid() == 1:  # else it is a program's process, and what it prints is the program's
            traceback.print_exc()  # a defect of ours: the keeper sees the end of a socket, the log sees this
        os._exit(_DEFECT)


def _main(control_fd: int, prepare: Callable[[], None] | None) -> list[str]:
    # The kernel shields pid 1 only from signals at their default action; Python's handler would let a program end init.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = socket.socket(fileno=control_fd)
    stage = "setup"
    try:
        plan, filter_program = _setup(control)
        stage = "rootfs"
        rootfs.build(plan.mounts, plan.links, any(step.warm is Warm.PRELOAD for step in plan.steps))
        stage = "privileges"
        linux.drop_bounding_set()  # of every jail too; ours are in the permitted set
    except OSError as error:
        _say(control, Broken(stage, str(error)[:REASON_CHARACTERS]))
        os._exit(1)
    gc.collect()
    gc.freeze()  # the collector's marks would copy pages in every fork
    zygote = None
    if prepare is not None and plan.forked is not None:
        native, zygote = Native(), Zygote()
        described = description.encode(plan.forked, Warm.FORK, (), filter_program)
        _kept.extend((zygote, plan, described, native))
        sock = zygote.start()
        if sock is not None:
            control.detach()  # the zygote closes it, and an object would close whatever has its number by then
            return zygote.serve(native, sock, described, prepare)
    maker = Maker()
    if zygote is not None:
        _prefault(zygote, maker)
    warden = Warden(control, plan, filter_program, maker, zygote)
    _say(control, Ready())
    return warden.serve()


def _setup(control: socket.socket) -> tuple[ToolchainPlan, bytes]:
    """The plan and the compiled filter, which come first. Raises BadMessage."""
    message, descriptors = _receive(control)
    if not isinstance(message, Setup):
        raise BadMessage("the first message is no setup")
    texts = []
    for descriptor in descriptors:
        with open(descriptor, "rb") as file:
            file.seek(0)
            texts.append(file.read())
    return ToolchainPlan.from_json(json.loads(texts[0])), texts[1]


def _prefault(zygote: Zygote, maker: Maker) -> None:
    try:
        zygote.prefault(prefault.written_pages(zygote, maker))
    except OSError as error:
        print(f"warden: no prefault, programs start a little later: {error}", file=sys.stderr, flush=True)


class Warden:
    """Makes jails and tells of programs' ends until the keeper is gone. The `zygote` is there for forks."""

    def __init__(
        self,
        control: socket.socket,
        plan: ToolchainPlan,
        filter_program: bytes,
        maker: Maker,
        zygote: Zygote | None,
    ) -> None:
        self._control, self._filter = control, filter_program
        self._steps = {step.id: step for step in plan.steps}
        self._maker, self._zygote = maker, zygote
        self._children: dict[int, tuple[int, int | None]] = {}  # pidfd -> pid, and the jail whose program it is
        self._helpers = {helper.pidfd: helper.name for helper in (zygote, maker) if helper is not None}
        self._described = functools.lru_cache(DESCRIPTIONS_MAX)(self._describe)
        self._poll = select.poll()
        for descriptor in (control.fileno(), *self._helpers):
            self._poll.register(descriptor, select.POLLIN)

    def serve(self) -> NoReturn:
        """Raises HelperDied, BadMessage: the warden ends."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._helpers:
                    raise HelperDied(f"{self._helpers[descriptor]} ended")
                if descriptor in self._children:
                    self._child_ended(descriptor)
                else:
                    self._serve_one()
            with contextlib.suppress(ChildProcessError):
                while self._reap_orphan():
                    pass

    def _serve_one(self) -> None:
        """Whatever goes wrong with one jail is told, and the next is made; not so where a helper is gone."""
        message, descriptors = _receive(self._control)
        if not isinstance(message, Make):
            raise BadMessage("a second setup")
        try:
            self._make(message, descriptors)
        except HelperDied:
            raise
        except Exception as error:
            if not isinstance(error, OSError):
                traceback.print_exc()
            _say(self._control, NotMade(message.jail, str(error)[:REASON_CHARACTERS]))
        finally:
            close_all(descriptors)

    def _make(self, wanted: Make, descriptors: list[int]) -> None:
        """Raises OSError, ValueError, HelperDied; then nothing of the jail is left."""
        if wanted.warm is not Warm.FORK:
            described = self._described(wanted.step, wanted.warm, wanted.argv)
            pid, pidfd = self._maker.make_command(described, wanted.uid, wanted.network, descriptors)
            self._watch(pid, pidfd, None)
            _say(self._control, Made(wanted.jail), [pidfd])
            return
        if self._zygote is None:
            raise ValueError(f"{wanted.step} is not warm by fork in this warden")
        pid, pidfd, init = fork_program(
            self._zygote, self._maker, wanted.uid, wanted.network, descriptors[0], descriptors[1:]
        )
        self._watch(pid, pidfd, wanted.jail)
        _say(self._control, Made(wanted.jail), [init, pidfd])
        os.close(init)

    def _describe(self, step_id: str, warm: Warm, argv: tuple[str, ...]) -> bytes:
        step = self._steps.get(step_id)
        if step is None:
            raise ValueError(f"no step {step_id}")
        return description.encode(step, warm, argv, self._filter)

    def _watch(self, pid: int, pidfd: int, jail: int | None) -> None:
        self._children[pidfd] = pid, jail
        self._poll.register(pidfd, select.POLLIN)

    def _child_ended(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        os.close(pidfd)
        pid, jail = self._children.pop(pidfd)
        status = os.waitpid(pid, 0)[1]
        if jail is not None:
            _say(self._control, ForkEnded(jail, status))

    def _reap_orphan(self) -> bool:
        """Reap one zombie that is not one of ours; True when there was one."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or any(ended.si_pid == pid for pid, _ in self._children.values()):
            return False
        if ended.si_pid == self._maker.pid or (self._zygote is not None and ended.si_pid == self._zygote.pid):
            return False
        os.waitpid(ended.si_pid, 0)
        return True


def _receive(control: socket.socket) -> tuple[Message, list[int]]:
    """The keeper's next message; the descriptors are the caller's to close. Ends with the keeper. Raises BadMessage."""
    try:
        received = wire.receive(control)
    except ConnectionResetError:  # gone, and without having read all that we said
        received = None
    if received is None:
        os._exit(0)  # the keeper is gone; as pid 1 we take every jail with us
    data, descriptors = received
    try:
        return decode(data, len(descriptors), TO_WARDEN), descriptors
    except BadMessage:
        close_all(descriptors)
        raise


def _say(control: socket.socket, message: Message, descriptors: list[int] | None = None) -> None:
    try:
        wire.send(control, message.encode(), descriptors or [])
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the keeper is gone
