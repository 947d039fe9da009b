"""The small parent of `cellblock serve`: starts the keeper and the HTTP processes and starts each again.

Standard library only. It reads one specification from a memfd; after that each child tells it that it lives, as
systemd is told (host/service_manager.py), and one that is silent for too long is killed. Under systemd the keeper's
unit has no supervisor; the HTTP unit has one, without a keeper and without root, where there are several processes.
"""

import dataclasses
import json
import logging
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from daemon.host import instance, privileges, service_manager
from daemon.host.log import to_stderr

log = logging.getLogger("cellblock.supervisor")

RESTART_S, RESTART_S_MAX = 0.05, 5.0
STEADY_S = 2.0  # a child that lived this long is started again at once
STOP_S = 8.0  # for a child to end, beyond the time that it was promised
STARTING = 4  # times as long a child may be silent until it is ready: it says that it starts, and imports


@dataclasses.dataclass(slots=True)
class Child:
    """One of the processes, running or waiting to be started at `due_s` (CLOCK_MONOTONIC seconds).

    `notify` is the descriptor that it is heard on; it is killed when nothing was heard for `silence_s` seconds,
    or STARTING times as long before it is ready.
    """

    name: str
    argv: list[str]
    descriptors: list[int]
    ids: list[int] | None  # uid and gid to become; None stays root
    notify: int
    silence_s: float
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False
    started_s: float = 0.0
    silent_s: float = math.inf
    due_s: float = 0.0
    delay_s: float = RESTART_S
    ear: socket.socket = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        os.set_inheritable(self.notify, False)
        self.ear = socket.socket(fileno=self.notify)

    def start(self) -> None:
        """Start it with its descriptors, as `ids`. Raises OSError, subprocess.SubprocessError."""

        def before_exec() -> None:
            if self.ids is not None:
                privileges.become(*self.ids)

        service_manager.heard(self.ear)  # what its predecessor said
        self.is_ready = False
        self.started_s = time.monotonic()
        self.silent_s = self.started_s + STARTING * self.silence_s
        self.process = subprocess.Popen(
            self.argv, pass_fds=self.descriptors, preexec_fn=before_exec, cwd="/",
            process_group=0,  # a terminal's Ctrl-C is for us alone: we stop them in order
        )  # fmt: skip

    def check(self) -> None:
        """Start it when it is due, kill it when it is silent; when it has ended, decide when to start it again."""
        now = time.monotonic()
        state = service_manager.heard(self.ear)
        if state is not None:
            self.is_ready = state.get("READY") == "1"
            self.silent_s = now + (1 if self.is_ready else STARTING) * self.silence_s
        if self.process is None:
            if now >= self.due_s:
                try:
                    self.start()
                except (OSError, subprocess.SubprocessError) as error:
                    self.delay_s = min(2 * self.delay_s, RESTART_S_MAX)
                    self.due_s = now + self.delay_s
                    log.error("cannot start the %s: %s", self.name, error)
        elif self.process.poll() is not None:
            steady = now - self.started_s > STEADY_S
            self.delay_s = RESTART_S if steady else min(2 * self.delay_s, RESTART_S_MAX)
            self.due_s = now + self.delay_s
            log.warning("the %s ended with %d; starting it again", self.name, self.process.returncode)
            self.process = None
        elif now >= self.silent_s:
            log.error("the %s was silent for %g s; killing it", self.name, self.silence_s)
            self.silent_s = math.inf
            self.process.kill()


class Signals:
    """SIGCHLD, SIGTERM and SIGINT end a `wait`; `take_stop` tells whether one of the last two came."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._stops = 0
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)

    def _on_stop(self, *_: object) -> None:
        self._stops += 1

    def wait(self, seconds: float, others: list[socket.socket]) -> None:
        """Until a signal comes, one of `others` can be read or the time is up."""
        watched: list[int | socket.socket] = [self._reader, *others]
        readable, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if self._reader in readable:
            os.read(self._reader, 64)

    def take_stop(self) -> bool:
        """True once for each time that we were asked to stop."""
        self._stops, before = 0, self._stops
        return before > 0


def stop(children: list[Child], seconds: float, signals: Signals) -> None:
    """SIGTERM to all, and SIGKILL for those that do not end in time; returns when all have ended.

    Whoever asks a second time to stop is passed on: then the HTTP process does not wait for its requests.
    """
    processes = [child.process for child in children if child.process is not None]
    deadline_s = time.monotonic() + seconds
    is_asked = True
    while alive := [process for process in processes if process.poll() is None]:
        if time.monotonic() >= deadline_s:
            for process in alive:
                process.kill()
                process.wait()
            return
        if is_asked:
            for process in alive:
                process.terminate()
        signals.wait(deadline_s - time.monotonic(), [])
        is_asked = signals.take_stop()


def main(specification: dict[str, Any]) -> int:
    """Keep all alive until SIGTERM or SIGINT; then the HTTP processes end, and the keeper after them.

    Returns the exit status: 0 when nothing is left on the host, 1 when a group could not be removed.
    """
    to_stderr(logging.WARNING)
    signals = Signals()
    notifier = service_manager.of_environment(os.environ)
    privileges.adopt_orphans()
    keeper = [Child(**child) for child in specification["keeper"]]  # one or none
    http = [Child(**child) for child in specification["http"]]
    children = keeper + http
    while not signals.take_stop():
        for child in children:
            child.check()
        privileges.reap_orphans()
        _tell(notifier, children)
        due = [child.due_s if child.process is None else child.silent_s for child in children]
        wait_s = min(min(due) - time.monotonic(), notifier.alive_s or STEADY_S, STEADY_S)
        signals.wait(wait_s, [child.ear for child in children])
    stop_s = specification["stop_s"]
    notifier.tell(STOPPING=1, EXTEND_TIMEOUT_USEC=int((stop_s + 3 * STOP_S) * 1e6))
    stop(http, stop_s + STOP_S, signals)
    stop(keeper, STOP_S, signals)
    name = specification["instance"]
    stuck = [] if name is None else instance.clean_up(name)
    for path in stuck:
        log.error("cannot remove %s", path)
    return 1 if stuck else 0


def _tell(notifier: service_manager.Notifier, children: list[Child]) -> None:
    """To systemd: we are ready once every child has been."""
    waiting = [child.name for child in children if not child.is_ready]
    if waiting:
        notifier.tell(STATUS=f"not ready: {', '.join(waiting)}")
    else:
        notifier.tell(READY=1, STATUS=f"{len(children)} processes are ready")


if __name__ == "__main__":
    with open(int(sys.argv[1])) as file:
        sys.exit(main(json.load(file)))
