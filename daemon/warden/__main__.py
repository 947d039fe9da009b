"""The warden's loop: one message on the control socket is one jail to fork; answers with init's pidfd.

Started by the keeper inside nsjail: by `python3 -I -S -c …`, or, where a step is warm by fork, by the step's own
command with toolchains/<id>/usercustomize.py, which calls `main`. The first message is the hello with the plan and the
compiled filter; the end of the control socket is the end of the warden, and with it of every jail.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from . import calls, image, init, linux, nursery, rehearsal, wall, zygote

MAX_MESSAGE_BYTES = 64 << 10
WALLS_MAX = 256
_kept: list[object] = []  # in a program too: to free them there would only copy pages


def main(control_fd: int, prepare: Callable[[], None] | None = None) -> list[str]:
    """Serve until the keeper is gone. Returns only in the process of a program that is a fork of this interpreter.

    What it returns is the program's arguments, at go. `prepare` is called once, before the first of them is forked and
    with pipes as standard streams.
    """
    try:
        return _main(control_fd, prepare)
    except BaseException:
        traceback.print_exc()  # a defect of ours: the keeper sees the end of a socket, the log sees this
        os._exit(99)


def _main(control_fd: int, prepare: Callable[[], None] | None) -> list[str]:
    # The kernel shields pid 1 only from signals at their default action; Python's handler would let a program end init.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = socket.socket(fileno=control_fd)
    plan, program = _hello(control)
    try:
        image.build(plan["mounts"], plan["links"])
    except OSError as error:
        _answer(control, {"type": "broken", "stage": "image", "reason": str(error)})
        os._exit(1)
    linux.drop_bounding_set()  # of every jail too; ours are in the permitted set
    gc.collect()
    gc.freeze()  # the collector's marks would copy pages in every fork
    ours = None
    if prepare is not None:
        step = next(step for step in plan["steps"] if step["warm"] == "fork")
        ours = zygote.Zygote(step, program)
        _kept.extend((ours, plan))
        control.detach()  # a program closes it, and an object would close whatever has its number by then
        arguments = ours.start(prepare)
        if arguments is not None:
            return arguments
        control = socket.socket(fileno=control_fd)
    warden = _Warden(control, plan, program, ours)
    _answer(control, {"type": "ready"})
    return warden.serve()


def _hello(control: socket.socket) -> tuple[dict[str, Any], bytes]:
    _, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 2)
    texts = []
    for descriptor in descriptors:
        with open(descriptor, "rb") as file:
            file.seek(0)
            texts.append(file.read())
    plan: dict[str, Any] = json.loads(texts[0])
    return plan, texts[1]


class _Warden:
    """Forks jails and tells of programs' ends until the keeper is gone."""

    def __init__(
        self, control: socket.socket, plan: dict[str, Any], filter_program: bytes, ours: zygote.Zygote | None
    ) -> None:
        self._control, self._filter, self._zygote = control, filter_program, ours
        self._steps = {step["id"]: step for step in plan["steps"]}
        self._children: dict[int, tuple[int, int | None]] = {}  # pidfd -> pid, and the jail whose program it is
        self._nursery = None
        if ours is not None:
            self._nursery = nursery.Nursery()
            self._rehearse(ours, self._nursery)
        self._runner = calls.Runner(wall.TABLE_BYTES)
        self._walls: dict[tuple[Any, ...], calls.Table] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def _rehearse(self, ours: zygote.Zygote, inits: nursery.Nursery) -> None:
        try:
            init_pidfd = inits.make_init()
            try:
                ours.copy_early(rehearsal.written_pages(ours, init_pidfd))
            finally:
                os.close(init_pidfd)
        except OSError as error:
            print(f"warden: no rehearsal, programs start a little later: {error}", file=sys.stderr)

    def serve(self) -> NoReturn:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._children:
                    self._child_ended(descriptor)
                    continue
                data, received = self._receive()
                if not data:
                    os._exit(0)  # the keeper is gone; as pid 1 we take every jail with us
                order = json.loads(data)
                order["placeholders"] = {}
                if order["argv"]:
                    self._steps[order["step"]] = {**self._steps[order["step"]], "argv": order["argv"]}
                try:
                    self._fork(order, self._steps[order["step"]], received)
                except OSError as error:
                    _answer(self._control, {"type": "not_made", "jail": order["jail"], "reason": str(error)})
                for descriptor_ in received:
                    os.close(descriptor_)
            with contextlib.suppress(ChildProcessError):
                while self._reap_orphan():
                    pass

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            data, received, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 8)
        except ConnectionResetError:  # gone, and without having read all that we said
            return b"", []
        return data, received

    def _fork(self, order: dict[str, Any], step: dict[str, Any], received: list[int]) -> None:
        """Raises OSError."""
        if order["warm"] == "fork" and self._zygote is not None and self._nursery is not None:
            init_pidfd = self._nursery.make_init()
            try:
                pid, pidfd = self._zygote.fork(order["uid"], received[0], init_pidfd, received[1:])
                _answer(self._control, {"type": "made", "jail": order["jail"]}, [init_pidfd, pidfd])
            finally:
                os.close(init_pidfd)
            self._watch(pid, pidfd, order["jail"])
        else:
            self._runner.fill(self._wall(step, received[1:]), order["uid"])
            pid, pidfd = linux.fork_into(linux.NAMESPACES)
            if pid == 0:
                init.become(received[0], received[1:], step, order, self._runner)
            _answer(self._control, {"type": "made", "jail": order["jail"]}, [pidfd])
            self._watch(pid, pidfd, None)

    def _wall(self, step: dict[str, Any], group_fds: list[int]) -> calls.Table:
        """Kept: most jails have the same descriptors."""
        key = step["id"], *group_fds
        if key not in self._walls:
            if len(self._walls) >= WALLS_MAX:
                self._walls.clear()
            self._walls[key] = self._runner.table(wall.up(group_fds, step["jail"], self._filter))
        return self._walls[key]

    def _watch(self, pid: int, pidfd: int, jail: int | None) -> None:
        self._children[pidfd] = pid, jail
        self._poll.register(pidfd, select.POLLIN)

    def _child_ended(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        os.close(pidfd)
        pid, jail = self._children.pop(pidfd)
        status = os.waitpid(pid, 0)[1]
        if jail is not None:
            _answer(self._control, {"type": "fork_ended", "jail": jail, "status": status})

    def _reap_orphan(self) -> bool:
        """Reap one zombie that is not one of ours; True when there was one."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or any(ended.si_pid == pid for pid, _ in self._children.values()):
            return False
        os.waitpid(ended.si_pid, 0)
        return True


def _answer(control: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    try:
        socket.send_fds(control, [json.dumps(message).encode()], descriptors or [])
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the keeper is gone
