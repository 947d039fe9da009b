"""What one jail costs in CPU, part by part: `sudo /var/lib/cellblock/venv/bin/python -m tests.performance.jail_cost`.

CPU is the whole machine's, so that what the kernel does later (taking down a network namespace) counts; run it on an
idle one. The medians are of ROUNDS rounds; a namespace's figure is a fork into it less a plain fork. Whole jails are
made by a real warden, without control groups, and killed when they are parked.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable

import psutil
from rich.console import Console
from rich.table import Table

from daemon.host import cgroup
from daemon.sandbox.model import Limits
from daemon.sandbox.plan import Warm
from tests.native import player
from tests.native.conftest import build_package

TIMES, ROUNDS, SETTLE_S = 200, 5, 0.4
NAMESPACES = {  # CLONE_NEW* of clone(2)
    "pid": 0x20000000, "mount": 0x20000, "ipc": 0x8000000, "uts": 0x4000000, "net": 0x40000000, "cgroup": 0x2000000,
}  # fmt: skip
LIMITS = Limits(memory_bytes=128 << 20, wall_ns=1, processes=65, cpu_share_ms=500)
SYS_CLONE3 = 435
COMMAND = player.step("exec", ("/usr/bin/true",), Warm.EXEC)
libc = ctypes.CDLL(None, use_errno=True)


def busy_us() -> float:
    times = psutil.cpu_times()
    return (times.user + times.system + times.irq + times.softirq) * 1e6


def cost_us(action: Callable[[], None]) -> float:
    """Of one call, by the whole machine's clock."""
    before = busy_us()
    for _ in range(TIMES):
        action()
    time.sleep(SETTLE_S)
    return (busy_us() - before) / TIMES


def fork(namespaces: int, child: Callable[[], None] | None = None) -> None:
    """Into new namespaces, and wait for its end."""
    arguments = (ctypes.c_uint64 * 11)(namespaces, 0, 0, 0, signal.SIGCHLD)  # struct clone_args of clone3(2)
    pid = libc.syscall(SYS_CLONE3, arguments, ctypes.sizeof(arguments))
    if pid == 0:
        if child is not None:
            child()
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    os.waitpid(pid, 0)


def group(tree: cgroup.Tree, joined: bool) -> None:
    made = tree.make("jail-cost")
    made.set_limits(LIMITS)
    joins = made.join_descriptors()

    def join() -> None:
        for descriptor in joins:
            os.write(descriptor, b"0")

    if joined:
        fork(0, join)
    while not made.remove():
        time.sleep(0.001)


def jail(warden: player.Player, step: str, warm: Warm) -> None:
    """Made, parked, killed."""
    made = warden.make(step, warm).park()
    made.close()
    if warm is Warm.FORK:
        warden.fork_ended()


def main() -> None:
    tree = cgroup.open_tree("cost")
    package = pathlib.Path(tempfile.mkdtemp(prefix="jail-cost-"))
    build_package(package)
    commands = player.Player(player.plan(COMMAND), package)
    forks = player.Player(player.plan(player.FORK), package)
    with commands, forks:
        commands.ready()
        forks.ready()
        parts: dict[str, Callable[[], None]] = {
            "fork of a bare interpreter, to its end": lambda: fork(0),
            **{f"{name} namespace": lambda flag=flag: fork(flag) for name, flag in NAMESPACES.items()},  # type: ignore[misc]
            "all six namespaces": lambda: fork(sum(NAMESPACES.values())),
            "control groups: make, limit, remove": lambda: group(tree, joined=False),
            "control groups: join": lambda: group(tree, joined=True),
            "a command's jail, parked and killed": lambda: jail(commands, "exec", Warm.EXEC),
            "a fork's jail, parked and killed": lambda: jail(forks, "fork", Warm.FORK),
        }
        found: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(ROUNDS):
            for name, action in parts.items():
                found[name].append(cost_us(action))
    shutil.rmtree(package)
    for directory in tree.paths():
        cgroup.mounts.destroy(directory, patience_s=2)
    medians = {name: statistics.median(values) for name, values in found.items()}
    made, forked = "control groups: make, limit, remove", "fork of a bare interpreter, to its end"
    less = {
        forked: [], made: [], "control groups: join": [made, forked],
        "a command's jail, parked and killed": [], "a fork's jail, parked and killed": [],
    }  # fmt: skip
    shown = Table("part", "CPU microseconds", title=f"{TIMES} times, {ROUNDS} rounds", title_justify="left")
    for name, value in medians.items():
        shown.add_row(name, f"{value - sum(medians[other] for other in less.get(name, [forked])):.0f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
