"""The warden's loop: one message on the control socket is one jail to fork; answers with init's pidfd.

Started by the keeper as `python3 -I -S -m daemon.warden DESCRIPTOR` inside nsjail. The first message is the hello with
the plan and the compiled filter; the end of the control socket is the end of the warden, and with it of every jail.
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
from typing import Any

from . import image, jail, linux

NAMESPACES = (
    linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWNET
)  # the cgroup namespace follows once the jail is in its group, so that the group is its root
MAX_MESSAGE_BYTES = 64 << 10


def main() -> None:
    # The kernel shields pid 1 only from signals at their default action; Python's handler would let a program end init.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = socket.socket(fileno=int(sys.argv[1]))
    plan, program = _hello(control)
    try:
        image.build(plan["mounts"], plan["links"])
    except OSError as error:
        _answer(control, {"type": "failed", "stage": "image", "reason": str(error)})
        return
    gc.collect()
    gc.freeze()  # the collector's marks would copy pages in every fork
    _answer(control, {"type": "ready"})
    _serve(control, plan, program)


def _hello(control: socket.socket) -> tuple[dict[str, Any], bytes]:
    _, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 2)
    texts = []
    for descriptor in descriptors:
        with open(descriptor, "rb") as file:
            file.seek(0)
            texts.append(file.read())
    plan: dict[str, Any] = json.loads(texts[0])
    return plan, texts[1]


def _serve(control: socket.socket, plan: dict[str, Any], program: bytes) -> None:
    steps = {step["id"]: step for step in plan["steps"]}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    children: dict[int, int] = {}  # pidfd -> pid
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in children:
                poll.unregister(descriptor)
                os.close(descriptor)
                os.waitpid(children.pop(descriptor), 0)
                continue
            data, received, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 8)
            if not data:
                os._exit(0)  # the keeper is gone; as pid 1 we take every jail with us
            order = json.loads(data)
            forked = _fork(control, order, steps[order["step"]], program, received)
            if forked is not None:
                pid, pidfd = forked
                children[pidfd] = pid
                poll.register(pidfd, select.POLLIN)
        with contextlib.suppress(ChildProcessError):
            while _reap_orphan(children):
                pass


def _reap_orphan(children: dict[int, int]) -> bool:
    """Reap one zombie that is not a jail's init; True when there was one."""
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None or ended.si_pid in children.values():
        return False
    os.waitpid(ended.si_pid, 0)
    return True


def _fork(
    control: socket.socket, order: dict[str, Any], step: dict[str, Any], program: bytes, received: list[int]
) -> tuple[int, int] | None:
    answer = {"type": "forked", "jail": order["jail"]}
    try:
        pid, pidfd = linux.fork_into(NAMESPACES)
    except OSError as error:
        _answer(control, {"type": "unforked", "jail": order["jail"], "reason": str(error)})
        _close(received)
        return None
    if pid == 0:
        try:
            jail.become_init(received[0], received[1:], step, order["uid"], program)
        except BaseException:
            traceback.print_exc()  # a defect of ours: the keeper sees the end of the channel, the log sees this
        finally:
            os._exit(99)  # never back into the warden's loop
    _close(received)
    _answer(control, answer, [pidfd])
    return pid, pidfd


def _answer(control: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    socket.send_fds(control, [json.dumps(message).encode()], descriptors or [])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


if __name__ == "__main__":
    main()
