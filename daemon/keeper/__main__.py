"""Starts a keeper: python -m daemon.keeper --instance NAME --listen FD --plan FD … (--help tells the rest).

The plan is what `daemon.toolchain` made of the toolchain files in a process of its own; the listening socket comes from
the supervisor or from systemd. Exit status 0 after SIGTERM or when the parent is gone, 1 when it could not start.
"""

import argparse
import logging
import os
import pathlib
import resource
import signal
import socket
import sys

from daemon.host import cgroup, own_mounts, privileges, service_manager
from daemon.host.instance import Busy, Instance
from daemon.host.log import to_stderr
from daemon.sandbox.collector import keep_what_is_there
from daemon.sandbox.messages import NETWORKS_MAX
from daemon.sandbox.plan import Plan

from .core import Keeper
from .loop import Loop
from .nsjail import WardenSetup
from .seccomp_policy import BadPolicy, compile_policy

log = logging.getLogger("cellblock.keeper")


def main(arguments: list[str]) -> int:
    """The exit status: 0 after SIGTERM or when the parent is gone, 1 when it could not start."""
    options = _parse(arguments)
    to_stderr(logging.INFO if options.verbose else logging.WARNING)
    try:
        return _serve(options)
    except (cgroup.Unavailable, BadPolicy, Busy, OSError, ValueError) as error:
        log.critical("cannot start: %s", error)
        return 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="daemon.keeper")
    parser.add_argument("--instance", required=True)
    parser.add_argument("--listen", type=int, required=True, help="descriptor of a listening unix SEQPACKET socket")
    parser.add_argument("--plan", type=int, required=True, help="descriptor to read the plan from")
    parser.add_argument("--nsjail", required=True)
    parser.add_argument("--configs", required=True, help="directory of warden.cfg and inner.toml")
    parser.add_argument("--peer-uid", type=int, required=True, help="the only uid that may connect")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    parser.add_argument("--notify", type=int, help="descriptor to tell on that it is ready and lives")
    parser.add_argument("--silence", type=float, help="seconds that it may tell nothing there")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(arguments)


def _serve(options: argparse.Namespace) -> int:
    if options.parent is not None:
        privileges.die_with_parent(signal.SIGTERM)
        if os.getppid() != options.parent:
            return 0
    os.lseek(options.plan, 0, os.SEEK_SET)  # a keeper before us may have read it
    with open(options.plan) as file:
        plan = Plan.from_json(file.read())
    instance = Instance(options.instance, plan.deployment.first_uid)
    stuck = cgroup.sweep(instance.leftovers())
    if stuck:
        raise OSError(f"an earlier keeper's groups cannot be removed: {', '.join(stuck)}")
    tree = cgroup.open_tree(instance.name)
    instance.record(tree.paths())
    tree.limit_memory(plan.deployment.memory_bytes_max)
    setup = WardenSetup(
        nsjail=options.nsjail,
        config=f"{options.configs}/warden.cfg",
        code=str(pathlib.Path(__file__).parent.parent),
        mounts=plan.warden_mounts,
        links=dict(plan.warden_links),
        filter=compile_policy(f"{options.configs}/inner.toml"),
        start_s=plan.deployment.start_s,
        networks=NETWORKS_MAX if plan.deployment.network_reuse else 0,
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    own_mounts.enter()
    privileges.adopt_orphans()
    privileges.keep_only(set(privileges.KEPT))
    loop = Loop()
    notifier = service_manager.of_descriptor(options.notify, options.silence)
    listener = socket.socket(fileno=options.listen)
    keeper = Keeper(loop, plan, instance, tree, setup, listener, options.peer_uid, notifier)
    _stop_on_signals(loop, keeper)
    keep_what_is_there()
    loop.run()
    return 0


def _stop_on_signals(loop: Loop, keeper: Keeper) -> None:
    """A signal becomes a byte in a pipe, so that stopping happens between two callbacks."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def stop() -> None:
        os.read(reader, 64)
        keeper.stop()

    loop.watch(reader, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
