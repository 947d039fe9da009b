"""What a server of our own uses, seen from outside: CPU time by part, and whatever could leak."""

import contextlib
import dataclasses
import json
import pathlib

import psutil

RUN_DIRECTORY = pathlib.Path("/run/cellblock")
KEPT = "/jails-"
NANOSECONDS, MICROSECONDS = 10**9, 10**6


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A running `cellblock serve`."""

    url: str
    pid: int
    instance: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds since some moment. `machine` is all that the host did, the client that measures included."""

    http: float
    keeper: float
    wardens: float
    jails: float
    machine: float

    def per_run_ms(self, before: "Cpu", runs: int) -> dict[str, float]:
        """CPU milliseconds for each of so many runs."""
        return {
            field.name: (getattr(self, field.name) - getattr(before, field.name)) * 1e3 / runs
            for field in dataclasses.fields(self)
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """Counts that must not grow, and memory in bytes; without the groups that are kept for the next jails, whose number
    is bounded (daemon/host/cgroup/kept.py), and without what is open for jails' groups."""

    http_bytes: int
    keeper_bytes: int
    warden_bytes: int
    descriptors: int
    processes: int
    zombies: int
    groups: int
    mounts: int


def cpu(served: Served) -> Cpu:
    """CPU seconds of every part so far."""
    http, keeper, wardens = map(_seconds, _parts(served))
    busy = psutil.cpu_times()
    return Cpu(http, keeper, wardens, max(0.0, _tree_seconds(served) - wardens), sum(busy) - busy.idle - busy.iowait)


def held(served: Served) -> Held:
    """What every part holds at this moment."""
    http, keeper, wardens = _parts(served)
    family = psutil.Process(served.pid).children(recursive=True)
    http_bytes, keeper_bytes, warden_bytes = (
        sum(process.memory_info().rss for process in part) for part in (http, keeper, wardens)
    )
    return Held(
        http_bytes=http_bytes,
        keeper_bytes=keeper_bytes,
        warden_bytes=warden_bytes,
        descriptors=sum(len(without_groups(descriptors(one.pid))) for one in (*http, *keeper, *wardens)),
        processes=len(family),
        zombies=sum(_is_zombie(process) for process in family),
        groups=sum(1 for top in _groups(served) for path in top.rglob("cgroup.procs") if not _is_kept(path)),
        mounts=len(pathlib.Path("/proc/self/mounts").read_text().splitlines()),
    )


def _parts(served: Served) -> tuple[list[psutil.Process], list[psutil.Process], list[psutil.Process]]:
    """HTTP processes, the keeper, and the wardens."""
    http, keeper, wardens = [], [], []
    for child in psutil.Process(served.pid).children():
        if "daemon.keeper" in child.cmdline():
            keeper.append(child)
            wardens += [warden for nsjail in child.children() for warden in nsjail.children()]
        else:
            http.append(child)
    return http, keeper, wardens


def _seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def descriptors(pid: int) -> list[str]:
    """What a process has open (proc_pid_fd(5))."""
    found = []
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found.append(str(path.readlink()))
    return found


def without_groups(links: list[str]) -> list[str]:
    """Without the files of jails' groups, and the eventfd that tells that one is out of memory."""
    return [link for link in links if KEPT not in link and link != "anon_inode:[eventfd]"]


def _is_kept(processes: pathlib.Path) -> bool:
    try:
        return KEPT in str(processes) and not processes.read_text()
    except OSError:  # it was removed meanwhile
        return True


def _groups(served: Served) -> list[pathlib.Path]:
    """The top groups of its keeper, one per hierarchy of cgroup v1, or one."""
    return [pathlib.Path(path) for path in json.loads((RUN_DIRECTORY / served.instance / "groups.json").read_text())]


def _tree_seconds(served: Served) -> float:
    """Of everything in the keeper's groups: wardens and jails, those that are gone included."""
    for group in _groups(served):
        if (group / "cpuacct.usage").exists():
            return int((group / "cpuacct.usage").read_text()) / NANOSECONDS
        if (group / "cpu.stat").exists() and not (group / "cpu.cfs_quota_us").exists():
            stat = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
            return int(stat["usage_usec"]) / MICROSECONDS
    return 0.0


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
