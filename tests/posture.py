"""What must not be left on the host after a run, and how to see it: processes, groups, mounts, descriptors."""

import contextlib
import dataclasses
import os
import pathlib

from tests.server import Server, until

SETTLE_S = float(os.environ.get("CELLBLOCK_TEST_SETTLE_S", "1.0"))


@dataclasses.dataclass(frozen=True)
class Posture:
    """Counts that must not grow."""

    http_descriptors: int
    keeper_descriptors: int
    processes: int  # of parked jails
    mounts: str


def take(server: Server) -> Posture:
    """With all jails parked that the toolchain files ask for, and no other alive."""
    counts: list[tuple[int, int]] = []

    def is_steady() -> bool:
        counts.append((server.keeper.num_fds(), len(jail_processes(server))))
        return is_at_rest(server) and counts[-2:] == counts[-1:] * 2

    until(is_steady, SETTLE_S, "only parked jails are alive")
    return Posture(
        processes=len(jail_processes(server)),
        http_descriptors=http_descriptors(server),
        keeper_descriptors=server.keeper.num_fds(),
        mounts=mounts(),
    )


def demand(server: Server, before: Posture) -> None:
    """Everything of the run's jails is gone within a second, and the daemon holds no more than before."""
    until(lambda: is_at_rest(server), SETTLE_S, "only parked jails are alive")
    until(lambda: len(jail_processes(server)) <= before.processes, SETTLE_S, "no process of a jail but the parked")
    until(lambda: server.keeper.num_fds() <= before.keeper_descriptors, SETTLE_S, "the keeper's descriptors")
    # idle keep-alive connections and the validation worker may come and go; a leak per run would pass any margin
    until(lambda: http_descriptors(server) <= before.http_descriptors + 6, SETTLE_S, "the HTTP process's descriptors")
    assert mounts() == before.mounts


def http_descriptors(server: Server) -> int:
    """But for the artefacts that it keeps, which have a bound of their own."""
    links = []
    for path in pathlib.Path(f"/proc/{server.http.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(path))
    return sum(not link.startswith("/memfd:artifact") for link in links)


def is_at_rest(server: Server) -> bool:
    """Every parked jail is there, and no group of any other."""
    sandbox = server.request("GET", "/health").json["sandbox"]
    pools = sandbox["parked"].values()
    wanted = sum(pool["wanted"] for pool in pools)
    alive = wanted + len(sandbox["services"])
    groups = jail_groups(server)
    return (
        sum(pool["parked"] for pool in pools) == wanted
        and set(sandbox["services"].values()) <= {"ready"}
        and sandbox["jails"] == alive
        and len(groups) == len(server.groups()) * alive
        and all(map(_has_processes, groups))  # what the keeper said may be older than what has begun since
    )


def _has_processes(group: str) -> bool:
    try:
        return bool(pathlib.Path(group, "cgroup.procs").read_text())
    except OSError:
        return False


def mounts() -> str:
    """What is mounted here, but for what systemd mounts for its own units while they run (systemd.exec(5))."""
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    return "\n".join(line for line in lines if not line.split()[1].startswith("/run/credentials/"))


def jail_processes(server: Server) -> list[str]:
    """pid, state and command of every process in a jail of this server, zombies included."""
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"/cellblock-{server.instance}/jail-" not in (directory / "cgroup").read_text():
                continue
            status = dict(
                line.split(":\t", 1) for line in (directory / "status").read_text().splitlines() if ":\t" in line
            )
        except OSError:
            continue
        found.append(f"{directory.name} {status['State']} {status['Name']}")
    return found


def jail_groups(server: Server) -> list[str]:
    return [str(path) for group in server.groups() for path in group.glob("jail-*")]


def instance_groups(instance: str) -> list[pathlib.Path]:
    """Every group of an instance, wherever it is below the cgroup mounts."""
    return list(pathlib.Path("/sys/fs/cgroup").rglob(f"cellblock-{instance}"))


def run_directories() -> list[pathlib.Path]:
    return list(pathlib.Path("/run/cellblock").glob("*"))
