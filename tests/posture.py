"""What must not be left on the host after a run, and how to see it: processes, groups, mounts, descriptors."""

import collections
import contextlib
import dataclasses
import fnmatch
import os
import pathlib
import re
from collections.abc import Iterator

from daemon.api.parsing import SMALL_BYTES
from daemon.bench.observe import KEPT, descriptors, without_groups
from daemon.host.cgroup.kept import KEPT_MAX
from tests.server import START_S, Server, until

SETTLE_S = float(os.environ.get("CELLBLOCK_TEST_SETTLE_S", "1.0"))
KEPT_S = max(SETTLE_S, 10.0)  # for the daemon's own descriptors: what is only late is no leak
STORE = "/artifacts/cache.db"
NAMES = 300  # more groups than a test makes


@dataclasses.dataclass(frozen=True)
class Posture:
    """What a server at rest holds: the same after every test as before the first one."""

    http_descriptors: dict[str, int]  # how many of each kind, such as socket:[0] and pipe:[0]
    keeper_descriptors: dict[str, int]
    processes: int  # of parked jails
    mounts: str


def warm_up(server: Server) -> None:
    """Start what starts with its first use and then stays: the processes of input validation and of large bodies."""
    assert server.post({"language": "none", "code": "x" * SMALL_BYTES}).status == 400
    server.post({"language": "python", "code": "import socket; socket.create_connection(('x', 1))"})


def take(server: Server) -> Posture:
    """With all jails parked that the toolchain files ask for, and no other alive."""
    seen: list[Posture] = []

    def is_steady() -> bool:
        seen.append(_now(server))
        return is_at_rest(server) and seen[-2:] == seen[-1:] * 2

    until(is_steady, START_S, "only parked jails are alive")
    return seen[-1]


def demand(server: Server, baseline: Posture) -> None:
    """Everything of the run's jails is gone within a second, and soon the daemon holds exactly what it held before.

    The jails that replace them have as long as a server's first ones: a virtual machine on a busy host takes seconds.
    """
    until(lambda: is_over(server), SETTLE_S, "no jail but those that are parked, or starting to be")
    until(lambda: is_at_rest(server), START_S, "every pool is full again")
    seen: list[Posture] = []
    with contextlib.suppress(AssertionError):
        until(lambda: seen.append(_now(server)) or seen[-1] == baseline, KEPT_S)
    assert seen[-1] == baseline, _differences(baseline, seen[-1])
    kept = store_descriptors(server)
    assert kept <= store_descriptors_max(), f"{kept} descriptors of the artefact store"


def _differences(before: Posture, now: Posture) -> list[str]:
    """What pytest would cut."""
    found = []
    for name in ("http_descriptors", "keeper_descriptors"):
        one, other = getattr(before, name), getattr(now, name)
        kinds = sorted(kind for kind in {*one, *other} if one.get(kind) != other.get(kind))
        found += [f"{name} {kind}: {one.get(kind, 0)}, now {other.get(kind, 0)}" for kind in kinds]
    return [*found, f"processes: {before.processes}, now {now.processes}"]


def _now(server: Server) -> Posture:
    return Posture(
        processes=len(jail_processes(server)),
        http_descriptors=_kinds(http_descriptors(server)),
        keeper_descriptors=_kinds(keeper_descriptors(server)),
        mounts=mounts(),
    )


def http_descriptors(server: Server) -> list[str]:
    """But for the artefacts that it keeps and the connections to their store, which have bounds of their own."""
    return [
        link for link in descriptors(server.http.pid) if not link.startswith("/memfd:artifact") and STORE not in link
    ]


def keeper_descriptors(server: Server) -> list[str]:
    """But for those of the jails' groups, which stay open while they are kept."""
    links = descriptors(server.keeper.pid)
    assert not [link for link in links if KEPT in link and link.endswith(" (deleted)")], links
    return without_groups(links)


def store_descriptors(server: Server) -> int:
    return sum(STORE in link for link in descriptors(server.http.pid))


def store_descriptors_max() -> int:
    """diskcache has a connection of each thread that ever used it; asyncio.to_thread has that many threads.

    A connection is the database and its log, and one file of shared memory for all (sqlite.org/wal.html).
    """
    threads = min(32, (os.cpu_count() or 1) + 4)
    return 2 * (threads + 1) + 1


def _kinds(links: list[str]) -> dict[str, int]:
    """Without what differs from one to the next: inode numbers, the jail's number and the like."""
    return dict(sorted(collections.Counter(re.sub(r"[0-9]+", "0", link) for link in links).items()))


def is_over(server: Server) -> bool:
    """Every jail that is alive waits for its first run, is about to, or is a service's."""
    sandbox = server.request("GET", "/health").json["sandbox"]
    waiting = sum(pool["parked"] + pool["starting"] for pool in sandbox["parked"].values())
    most: int = waiting + len(sandbox["services"]) * server.http_processes
    return bool(sandbox["jails"] <= most)


def is_at_rest(server: Server) -> bool:
    """Every pool is full, every service ready, no other jail is alive, and few groups are kept for the next ones."""
    sandbox = server.request("GET", "/health").json["sandbox"]
    pools = sandbox["parked"].values()
    wanted = sum(pool["wanted"] for pool in pools)
    alive = wanted + len(sandbox["services"]) * server.http_processes  # each has its own
    if (
        any(pool["parked"] != pool["wanted"] for pool in pools)
        or not set(sandbox["services"].values()) <= {"ready"}
        or sandbox["jails"] != alive
    ):
        return False
    all_groups, occupied = len(_groups(server)), len(jail_groups(server))
    return (
        occupied == len(server.groups()) * alive  # what the keeper said may be older than what has begun since
        and all_groups - occupied <= len(server.groups()) * KEPT_MAX
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
            if f"/cellblock-{server.instance}/jails-" not in (directory / "cgroup").read_text():
                continue
            status = dict(
                line.split(":\t", 1) for line in (directory / "status").read_text().splitlines() if ":\t" in line
            )
        except OSError:
            continue
        found.append(f"{directory.name} {status['State']} {status['Name']}")
    return found


def jail_groups(server: Server) -> list[str]:
    """Those in which a jail is."""
    return list(filter(_has_processes, _groups(server)))


def kept_groups(server: Server) -> list[str]:
    """Those that are empty: they have served a jail and wait for the next, or one is just about to join."""
    return [group for group in _groups(server) if not _has_processes(group)]


def _groups(server: Server) -> list[str]:
    return [str(path) for group in server.groups() for path in group.glob("jails-*")]


@contextlib.contextmanager
def no_group_can_be_made(server: Server) -> Iterator[None]:
    """For a jail: none is kept, and somebody else has the names of the next ones."""
    for kept in kept_groups(server):
        with contextlib.suppress(OSError):  # a jail has joined it since
            os.rmdir(kept)
    names = [server.groups()[-1] / f"jails-{number}" for number in range(1, NAMES)]
    taken = [name for name in names if not name.exists()]
    for name in taken:
        name.mkdir()
    try:
        yield
    finally:
        for name in taken:
            with contextlib.suppress(FileNotFoundError):  # it was of a kept one, which the keeper has removed meanwhile
                name.rmdir()


def instance_groups(pattern: str) -> list[pathlib.Path]:
    """Every group of the instances of this name, wherever it is below the cgroup mounts.

    os.walk, because others' groups may go while it looks.
    """
    return [
        pathlib.Path(directory, name)
        for directory, names, _ in os.walk("/sys/fs/cgroup")
        for name in fnmatch.filter(names, f"cellblock-{pattern}")
    ]


def run_directories() -> list[pathlib.Path]:
    return list(pathlib.Path("/run/cellblock").glob("*"))
