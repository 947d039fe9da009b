"""One nsjail with a warden in it: start, hello, orders to fork, death. Nothing else in cellblock starts nsjail."""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

from daemon.host.cgroup import Group, Tree
from daemon.host.privileges import die_with_parent, reap_orphans
from daemon.sandbox import wire
from daemon.sandbox.model import Limits, Mount, ToolchainPlan

from .loop import Loop, Timer

log = logging.getLogger("cellblock.keeper")

FIRST_JAIL_ID = 1000  # inside a warden's slice; 0 is the warden itself
LAST_JAIL_ID = 65000
REASON_CHARACTERS = 200
OOM_SCORE = 900  # of wardens and jails: the kernel ends them before the daemon
PYTHON = "/usr/bin/python3"
CODE_TARGET = "/cellblock/daemon/warden"
START = "import sys; sys.path.insert(0, '/cellblock'); from daemon.warden.__main__ import main; main(int(sys.argv[1]))"
WARDEN_LIMITS = Limits(memory_bytes=4 << 30, wall_ns=0, processes=100_000)  # its own group only bounds a leak

Ended = Callable[[object], None]  # the raw wait status, yet to be checked
Forked = Callable[[list[int], str], None]  # pidfds of init and of a fork's program, or none and the reason


@dataclasses.dataclass(frozen=True, slots=True)
class WardenSetup:
    """What every warden of this keeper is started with."""

    nsjail: str
    config: str  # jail_configs/warden.cfg
    code: str  # directory of the package daemon.warden
    mounts: tuple[Mount, ...]
    links: dict[str, str]
    filter: bytes
    start_s: float  # for it, and for each of its jails, to be ready


class Warden:
    """Alive from the start of nsjail until its control socket or nsjail ends; `on_state` hears ready and dead.

    `made` jails so far and `live` ones of them are its fleet's to count; `retired`: no more are to be made.
    """

    def __init__(
        self,
        loop: Loop,
        tree: Tree,
        setup: WardenSetup,
        plan: ToolchainPlan,
        slot: int,
        uid_base: int,
        on_state: Callable[["Warden"], None],
    ) -> None:
        self.plan, self.slot = plan, slot
        self.started_s, self.patience_s = time.monotonic(), setup.start_s
        self.made = self.live = 0
        self.retired = False
        self._uids = itertools.cycle(range(FIRST_JAIL_ID, LAST_JAIL_ID))
        self.ready = False
        self.dead: str | None = None
        self._loop, self._on_state = loop, on_state
        self._waiting: dict[int, Forked] = {}
        self._running: dict[int, Ended] = {}
        hello = [_memfd("plan", json.dumps(dataclasses.asdict(plan)).encode()), _memfd("filter", setup.filter)]
        try:
            self._start(tree, setup, uid_base)
            loop.watch(self._pidfd, lambda: self._end("nsjail ended"))
            loop.watch(self._control.fileno(), self._receive)
            self._timer: Timer = loop.after(setup.start_s, lambda: self._end(f"not ready after {setup.start_s:.0f} s"))
            self._send({"type": "hello"}, hello)
        finally:
            wire.close_all(hello)

    def _start(self, tree: Tree, setup: WardenSetup, uid_base: int) -> None:
        """nsjail in a group of its own, or OSError and nothing."""
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with inner:
            self.group = tree.make(f"warden-{self.plan.id}-{self.slot}")
            try:
                self.group.set_limits(WARDEN_LIMITS)
                self._process = _start_nsjail(setup, self.plan, uid_base, inner.fileno(), self.group)
                self._pidfd = _open_pidfd(self._process)
            except (OSError, subprocess.SubprocessError) as error:
                self._control.close()
                self.group.remove()
                raise OSError(f"{setup.nsjail}: {error}") from error
        self._control.setblocking(False)

    def __repr__(self) -> str:
        state = "dead" if self.dead else "ready" if self.ready else "starting"
        return f"<Warden {self.plan.id}: {state}, pid {self._process.pid}>"

    @property
    def pid(self) -> int:
        """Of nsjail."""
        return self._process.pid

    def next_uid(self) -> int:
        """For a jail, inside the warden's slice; used again when all others have been."""
        return next(self._uids)

    def fork(self, jail: int, order: wire.Message, channel: int, joins: list[int], done: Forked, ended: Ended) -> None:
        """Ask for a jail; the warden has its own copies of the descriptors when this returns.

        `ended` hears the raw wait status of a program that is the warden's own fork, until `forget`.
        """
        self._waiting[jail] = done
        self._running[jail] = ended
        self._send({"type": "fork", "jail": jail, **order}, [channel, *joins])

    def forget(self, jail: int) -> None:
        self._running.pop(jail, None)

    def _send(self, message: wire.Message, descriptors: list[int]) -> None:
        try:
            wire.send(self._control, message, tuple(descriptors))
        except OSError as error:
            self._end(f"control socket: {error}")

    def _receive(self) -> None:
        try:
            received = wire.receive(self._control)
        except BlockingIOError:
            return
        except (OSError, wire.BadMessage) as error:
            self._end(f"control socket: {error}")
            return
        if received is None:
            self._end("the warden ended")
            return
        message, descriptors = received
        jail = message.get("jail")
        done = self._waiting.get(jail) if isinstance(jail, int) else None
        match message["type"]:
            case "ready":
                self._timer.cancel()
                self.ready = True
                self._on_state(self)
            case "forked" if descriptors and done is not None:
                if not all(map(_is_pidfd, descriptors)):
                    wire.close_all(descriptors)
                    self._end("sent something that is no pidfd")
                    return
                self._waiting.pop(message["jail"])
                done(descriptors, "")
                return
            case "status":
                ended = self._running.pop(jail, None) if isinstance(jail, int) else None
                if ended is not None:
                    ended(message.get("status"))
            case "unforked" if done is not None:
                self._waiting.pop(message["jail"])
                done([], str(message.get("reason"))[:REASON_CHARACTERS])
            case "failed":
                self._end(f"{message.get('stage')}: {message.get('reason')}")
            case other:
                self._end(f"unexpected message {other!r}")
        wire.close_all(descriptors)

    def _end(self, reason: str) -> None:
        """Everything of the outer wall goes: closing the control socket ends the warden, and with it every jail."""
        if self.dead is not None:
            return
        self.dead, self.ready = reason, False
        self._timer.cancel()
        self._loop.unwatch(self._control.fileno())
        self._control.close()
        self._loop.unwatch(self._pidfd)
        with contextlib.suppress(ProcessLookupError):  # it may be reaped already
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._on_state(self)  # first: whoever hears of a lost jail must not be told that we are ready
        for done in list(self._waiting.values()):
            done([], f"warden: {reason}")
        self._waiting.clear()

    def close(self, reason: str) -> None:
        """End it now, for shutdown or replacement; its jails end with it."""
        self._end(reason)

    def reap(self) -> bool:
        """True once nsjail is reaped and the group removed; call again until then."""
        if self._process.poll() is None:
            return False
        reap_orphans()  # the warden, if nsjail went before it
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.group.kill()
        return self.group.remove()


def _open_pidfd(process: subprocess.Popen[bytes]) -> int:
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        process.kill()
        process.wait()
        raise


def _is_pidfd(descriptor: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return True  # of a process that is gone
    except OSError:
        return False
    return True


def _memfd(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, content)
    return descriptor


def _start_nsjail(
    setup: WardenSetup, plan: ToolchainPlan, uid_base: int, control: int, group: Group
) -> subprocess.Popen[bytes]:
    ids = f"0:{uid_base}:65536"
    argv = [setup.nsjail, "--config", setup.config, "--user", ids, "--group", ids]
    forked = plan.forked
    for mount in setup.mounts if forked is None else plan.mounts:
        argv += ["--bindmount_ro", f"{mount.source}:{mount.target}"]
    for target, text in (setup.links if forked is None else plan.links).items():
        argv += ["--symlink", f"{text}:{target}"]
    argv += ["--bindmount_ro", f"{setup.code}:{CODE_TARGET}"]
    for number, mount in enumerate(plan.mounts):
        argv += ["--bindmount_ro", f"{mount.source}:/host/{number}"]
    argv += ["--pass_fd", str(control)]
    if forked is None:
        argv += ["--", PYTHON, "-I", "-S", "-c", START, str(control)]
    else:
        environment = {
            **forked.environment, **forked.start_environment, "CELLBLOCK_CONTROL": str(control),
            "CELLBLOCK_IMPORTS": " ".join(plan.imports),
        }  # fmt: skip
        for name, value in environment.items():
            argv += ["--env", f"{name}={value}"]
        argv += ["--cwd", "/work", "--", *forked.argv]
    joins = group.join_descriptors()

    def before_exec() -> None:
        die_with_parent(signal.SIGKILL)
        for descriptor in joins:
            os.write(descriptor, b"0")
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(OOM_SCORE))

    try:
        return subprocess.Popen(
            argv,
            pass_fds=[control],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={},
            preexec_fn=before_exec,
        )
    finally:
        wire.close_all(joins)
