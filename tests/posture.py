"""What must not be left on the host after a run, and how to see it: processes, groups, mounts, descriptors."""

import dataclasses
import os
import pathlib

from tests.server import Server, until

FIRST_UID = 1879048192
UIDS_PER_WARDEN = 65536
FIRST_JAIL_ID = 1000  # below it is the warden itself
SETTLE_S = float(os.environ.get("CELLBLOCK_TEST_SETTLE_S", "1.0"))


@dataclasses.dataclass(frozen=True)
class Posture:
    """Counts that must not grow."""

    http_descriptors: int
    keeper_descriptors: int
    mounts: str


def take(server: Server) -> Posture:
    return Posture(
        http_descriptors=server.http.num_fds(),
        keeper_descriptors=server.keeper.num_fds(),
        mounts=mounts(),
    )


def demand(server: Server, before: Posture) -> None:
    """Everything of the jails is gone within a second, and the daemon holds no more than before."""
    until(lambda: not jail_processes(), SETTLE_S, "no process of a jail")
    until(lambda: not jail_groups(server), SETTLE_S, "no group of a jail")
    until(lambda: server.keeper.num_fds() <= before.keeper_descriptors, SETTLE_S, "the keeper's descriptors")
    # idle keep-alive connections and the validation worker may come and go; a leak per run would pass any margin
    until(lambda: server.http.num_fds() <= before.http_descriptors + 6, SETTLE_S, "the HTTP process's descriptors")
    assert mounts() == before.mounts


def mounts() -> str:
    """What is mounted here, but for what systemd mounts for its own units while they run (systemd.exec(5))."""
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    return "\n".join(line for line in lines if not line.split()[1].startswith("/run/credentials/"))


def jail_processes() -> list[str]:
    """pid, state and command of every process whose host uid is that of a jail, zombies included."""
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":\t", 1) for line in (directory / "status").read_text().splitlines() if ":\t" in line
            )
        except OSError:
            continue
        uid = int(status["Uid"].split()[0])
        if uid >= FIRST_UID and (uid - FIRST_UID) % UIDS_PER_WARDEN >= FIRST_JAIL_ID:
            found.append(f"{directory.name} {status['State']} {status['Name']}")
    return found


def jail_groups(server: Server) -> list[str]:
    return [str(path) for group in server.groups() for path in group.glob("jail-*")]


def instance_groups(instance: str) -> list[pathlib.Path]:
    """Every group of an instance, wherever it is below the cgroup mounts."""
    return list(pathlib.Path("/sys/fs/cgroup").rglob(f"cellblock-{instance}"))


def run_directories() -> list[pathlib.Path]:
    return list(pathlib.Path("/run/cellblock").glob("*"))
