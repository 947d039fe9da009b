"""Starts nsjail with a warden in it: the only place that knows nsjail's flags."""

import dataclasses
import os
import subprocess

from daemon.host.cgroup import Group
from daemon.host.privileges import die_with_parent
from daemon.sandbox.plan import Mount, ToolchainPlan

OOM_SCORE = 900  # of wardens and jails: the kernel ends them before the daemon (proc(5), oom_score_adj)
PYTHON = "/usr/bin/python3"
CODE_TARGET = "/cellblock/daemon"
CODE_PARTS = ("warden", "sandbox")  # of the package; the rest is not there
START = "import sys; sys.path.insert(0, '/cellblock'); from daemon.warden.__main__ import main; main(int(sys.argv[1]))"
IDS = 65536  # of one warden: host uids and gids


@dataclasses.dataclass(frozen=True, slots=True)
class WardenSetup:
    """What every warden of this keeper is started with."""

    nsjail: str
    config: str  # jail_configs/warden.cfg
    code: str  # directory of the package daemon
    mounts: tuple[Mount, ...]
    links: dict[str, str]
    filter: bytes  # struct sock_filter[], for every jail
    start_s: float  # for it, and for each of its jails, to be ready
    networks: int  # network namespaces that it lends to its jails; 0: each jail has one of its own


def start(
    setup: WardenSetup, plan: ToolchainPlan, uid_base: int, control: int, group: Group
) -> subprocess.Popen[bytes]:
    """nsjail, in the group from its first instruction on. `control` is the warden's end of its socket.

    Raises OSError that names nsjail.
    """
    argv = _command(setup, plan, uid_base, control)
    joins = group.join_descriptors()

    def before_exec() -> None:
        die_with_parent(9)
        for descriptor in joins:
            os.write(descriptor, b"0")
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(OOM_SCORE))

    try:
        return subprocess.Popen(
            argv, pass_fds=[control], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={},
            preexec_fn=before_exec,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise OSError(f"{setup.nsjail}: {error}") from error


def _command(setup: WardenSetup, plan: ToolchainPlan, uid_base: int, control: int) -> list[str]:
    ids = f"0:{uid_base}:{IDS}"
    argv = [setup.nsjail, "--config", setup.config, "--user", ids, "--group", ids]
    forked = plan.forked
    for mount in setup.mounts if forked is None else plan.mounts:
        argv += ["--bindmount_ro", f"{mount.source}:{mount.target}"]
    for target, text in (setup.links if forked is None else plan.links).items():
        argv += ["--symlink", f"{text}:{target}"]
    for part in CODE_PARTS:
        argv += ["--bindmount_ro", f"{setup.code}/{part}:{CODE_TARGET}/{part}"]
    for number, mount in enumerate(plan.mounts):
        argv += ["--bindmount_ro", f"{mount.source}:/host/{number}"]
    argv += ["--pass_fd", str(control)]
    if forked is None:
        return [*argv, "--", PYTHON, "-I", "-S", "-c", START, str(control)]
    environment = {
        **forked.environment, **forked.start_environment, "CELLBLOCK_CONTROL": str(control),
        "CELLBLOCK_IMPORTS": " ".join(plan.imports),
    }  # fmt: skip
    for name, value in environment.items():
        argv += ["--env", f"{name}={value}"]
    return [*argv, "--cwd", "/work", "--", *forked.argv]
