"""The small parent of `cellblock serve`: starts the keeper and the HTTP processes and starts each again.

Standard library only. It reads one specification from a memfd and nothing from anyone after that. Under systemd the
keeper's unit has none; the HTTP unit has one, without a keeper and without root, where there are several processes.
"""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from typing import Any

from daemon.host import instance, privileges

RESTART_S, RESTART_S_MAX = 0.05, 5.0
STEADY_S = 2.0  # a child that lived this long is started again at once
STOP_S = 8.0
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


@dataclasses.dataclass(slots=True)
class Child:
    """One of the processes, running or waiting to be started at `due_s` (CLOCK_MONOTONIC seconds)."""

    name: str
    argv: list[str]
    descriptors: list[int]
    ids: list[int] | None  # uid and gid to become; None stays root
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    delay_s: float = RESTART_S

    def start(self) -> None:
        """Start it with its descriptors, as `ids`. Raises OSError, subprocess.SubprocessError."""

        def before_exec() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            if self.ids is not None:
                privileges.become(*self.ids)

        self.started_s = time.monotonic()
        self.process = subprocess.Popen(self.argv, pass_fds=self.descriptors, preexec_fn=before_exec, cwd="/")

    def check(self) -> None:
        """Start it when it is due; when it has ended, say so and decide when to start it again."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_s:
                try:
                    self.start()
                except (OSError, subprocess.SubprocessError) as error:
                    self.delay_s = min(2 * self.delay_s, RESTART_S_MAX)
                    self.due_s = now + self.delay_s
                    print(f"supervisor: cannot start the {self.name}: {error}", file=sys.stderr)
        elif self.process.poll() is not None:
            steady = now - self.started_s > STEADY_S
            self.delay_s = RESTART_S if steady else min(2 * self.delay_s, RESTART_S_MAX)
            self.due_s = now + self.delay_s
            print(
                f"supervisor: the {self.name} ended with {self.process.returncode}; starting it again", file=sys.stderr
            )
            self.process = None


def stop(children: list[Child]) -> None:
    """SIGTERM to all, and SIGKILL for those that do not end within STOP_S; returns when all have ended."""
    processes = [child.process for child in children if child.process is not None]
    for process in processes:
        process.terminate()
    deadline_s = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(specification: dict[str, Any]) -> int:
    """Keep all alive until SIGTERM or SIGINT; then the HTTP processes end, and the keeper after them.

    Returns the exit status: 0 when nothing is left on the host, 1 when a group could not be removed.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    privileges.adopt_orphans()
    keeper = [Child(**child) for child in specification["keeper"]]  # one or none
    http = [Child(**child) for child in specification["http"]]
    children = keeper + http
    while True:
        for child in children:
            child.check()
        privileges.reap_orphans()
        due = [child.due_s for child in children if child.process is None]
        wait_s = max(0.0, min(due) - time.monotonic()) if due else STEADY_S
        received = signal.sigtimedwait(SIGNALS, wait_s)
        if received is not None and received.si_signo != signal.SIGCHLD:
            break
    stop(http)
    stop(keeper)
    name = specification["instance"]
    stuck = [] if name is None else instance.clean_up(name)
    for path in stuck:
        print(f"supervisor: cannot remove {path}", file=sys.stderr)
    return 1 if stuck else 0


if __name__ == "__main__":
    with open(int(sys.argv[1])) as file:
        sys.exit(main(json.load(file)))
