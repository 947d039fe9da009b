"""What one jail costs in CPU, part by part: `sudo /var/lib/cellblock/venv/bin/python -m tests.performance.jail_cost`.

CPU is the whole machine's, so that what the kernel does later (taking down a network namespace) counts; run it on an
idle one. The medians are of ROUNDS rounds; a namespace's figure is a fork into it less a plain fork.
"""

import importlib
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import psutil
from rich.console import Console
from rich.table import Table

from daemon.host import cgroup
from daemon.keeper import seccomp_policy
from daemon.sandbox.model import Limits
from daemon.toolchain import registry
from daemon.warden import calls, image, linux, wall

HERE = pathlib.Path(__file__).parents[2]
TIMES, ROUNDS, SETTLE_S = 200, 5, 0.4
NAMESPACES = {
    "pid": linux.CLONE_NEWPID, "mount": linux.CLONE_NEWNS, "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS,
    "net": linux.CLONE_NEWNET, "cgroup": linux.CLONE_NEWCGROUP,
}  # fmt: skip
SPEC = {
    "scratch_bytes": 64 << 20, "scratch_inodes": 4096, "stack_bytes": 8 << 20, "file_bytes": 64 << 20, "files_open": 256,
}  # fmt: skip
LIMITS = Limits(memory_bytes=128 << 20, wall_ns=1, processes=65, cpu_share_ms=500)


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
    pid, pidfd = linux.fork_into(namespaces)
    if pid == 0:
        if child is not None:
            child()
        os._exit(0)
    os.close(pidfd)
    os.waitpid(pid, 0)


def root_directory(base: str, build: Callable[[], None]) -> None:
    """As a jail builds it, below a directory of ours."""
    linux.mount(None, "/", None, linux.MS_PRIVATE | linux.MS_REC)
    linux.mount("tmpfs", base, "tmpfs", 0)
    os.chroot(base)
    os.mkdir(image.SCRATCH)
    os.mkdir(image.IMAGE)
    linux.mount("tmpfs", image.IMAGE, "tmpfs", 0)
    for name in image.OWN_MOUNTS:
        os.makedirs(f"{image.IMAGE}/{name}")
    build()


def ready(row: list[calls.Call]) -> Callable[[], None]:
    """The calls as a table that lies there before the fork."""
    runner = calls.Runner(wall.TABLE_BYTES)
    runner.fill(runner.table(row))
    return lambda: runner.check(runner.run(runner.address))


def group(tree: cgroup.Tree, joined: bool) -> None:
    made = tree.make("jail-cost")
    made.set_limits(LIMITS)
    joins = made.join_descriptors()

    def join() -> None:
        for descriptor in joins:
            os.write(descriptor, b"0")

    if joined:
        fork(0, join)
    for descriptor in joins:
        os.close(descriptor)
    while not made.remove():
        time.sleep(0.001)


def main() -> None:
    console = Console()
    program = seccomp_policy.compile_policy(str(HERE / "jail_configs/inner.toml"))
    tree = cgroup.open_tree("cost")

    build = ready(wall._build_root(SPEC))
    confine = ready(wall._confine(SPEC, program)[-2:])  # no_new_privs and the filter

    with tempfile.TemporaryDirectory() as base:
        parts: dict[str, Callable[[], None]] = {
            "fork of a bare interpreter, to its end": lambda: fork(0),
            **{f"{name} namespace": lambda flag=flag: fork(flag) for name, flag in NAMESPACES.items()},  # type: ignore[misc]
            "all six namespaces": lambda: fork(sum(NAMESPACES.values())),
            "root directory": lambda: fork(linux.NAMESPACES, lambda: root_directory(base, build)),
            "seccomp filter": lambda: fork(0, confine),
            "control groups: make, limit, remove": lambda: group(tree, joined=False),
            "control groups: join": lambda: group(tree, joined=True),
        }
        found: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(ROUNDS):
            for name, action in parts.items():
                found[name].append(cost_us(action))
    for directory in tree.paths():
        cgroup.mounts.destroy(directory, patience_s=2)
    medians = {name: statistics.median(values) for name, values in found.items()}
    made, forked = "control groups: make, limit, remove", "fork of a bare interpreter, to its end"
    less = {forked: [], made: [], "control groups: join": [made, forked], "root directory": ["all six namespaces"]}
    for toolchain in registry.load([HERE / "toolchains"], None):
        for module in toolchain.imports:
            importlib.import_module(module)
    shown = Table("part", "CPU microseconds", title=f"{TIMES} times, {ROUNDS} rounds", title_justify="left")
    for name, value in medians.items():
        shown.add_row(name, f"{value - sum(medians[other] for other in less.get(name, [forked])):.0f}")
    full = statistics.median(cost_us(lambda: fork(0)) for _ in range(ROUNDS))
    shown.add_row("fork of one with a toolchain's modules", f"{full:.0f}")
    console.print(shown)


if __name__ == "__main__":
    main()
