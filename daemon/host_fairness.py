"""What makes a host unfair: the same program then needs more CPU time at one moment than at another.

Everything is read below `sys_root` and `proc_root`, which stand for /sys and /proc. What is not there is unknown: a
virtual machine does not see how its host sets the processor.
"""

import pathlib
import time
from collections.abc import Iterator

from daemon.finding import Finding, Grade
from daemon.host import cores

SAMPLE_S = 0.5  # of other work on the graded cores
BUSY_SHARE, STEAL_SHARE = 0.05, 0.005  # of a core's time; more is told
USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL = 0, 1, 2, 5, 6, 7  # of a cpu line in /proc/stat (proc_stat(5))
TURBO = {"intel_pstate/no_turbo": "0", "cpufreq/boost": "1"}  # what the file says where turbo is on
VIRTUAL = "unknown; in a virtual machine its host decides"


def examine(
    graded: tuple[int, ...], sys_root: pathlib.Path = cores.SYS, proc_root: pathlib.Path = pathlib.Path("/proc")
) -> Iterator[Finding]:
    """One finding for each cause, for runs that are graded on these cores."""
    folder = sys_root / cores.CPU_FOLDER
    yield smt(graded, sys_root)
    yield frequency(graded, folder)
    yield turbo(folder)
    yield swap(proc_root)
    yield huge_pages(sys_root)
    before = core_times(proc_root)
    time.sleep(SAMPLE_S)
    yield other_work(graded, before, core_times(proc_root), _text(folder / "isolated"))


def smt(graded: tuple[int, ...], sys_root: pathlib.Path) -> Finding:
    """Two hardware threads of one physical core slow each other, also when only one of the two is graded on."""
    shared = [core for core in graded if len(cores.siblings(core, sys_root)) > 1]
    both = [core for core in shared if len(set(cores.siblings(core, sys_root)) & set(graded)) > 1]
    if both:
        hint = "leave one of each pair out of grade_cores, or: echo off > /sys/devices/system/cpu/smt/control"
        return Finding(Grade.WARN, "smt", f"graded cores {cores.as_list(both)} share physical cores", hint)
    if shared:
        hint = "nothing but graded runs is kept off the other thread: echo off > /sys/devices/system/cpu/smt/control"
        return Finding(Grade.WARN, "smt", "other work may run on the second thread of a graded core", hint)
    if not (sys_root / cores.CPU_FOLDER / "cpu0/topology").exists():
        return Finding(Grade.UNKNOWN, "smt", VIRTUAL)
    return Finding(Grade.OK, "smt", "no graded core has a second hardware thread that this system sees")


def frequency(graded: tuple[int, ...], folder: pathlib.Path) -> Finding:
    """A governor that lowers the frequency of an idle core makes the next program's first milliseconds slow."""
    found = {_text(folder / f"cpu{core}/cpufreq/scaling_governor") for core in graded} - {None}
    if not found:
        return Finding(Grade.UNKNOWN, "governor", VIRTUAL)
    names = ", ".join(sorted(map(str, found)))
    if found == {"performance"}:
        return Finding(Grade.OK, "governor", names)
    return Finding(Grade.WARN, "governor", names, "cpupower frequency-set -g performance")


def turbo(folder: pathlib.Path) -> Finding:
    """With turbo a core is faster while its neighbours are idle, so a program is faster when it is alone."""
    for name, is_on in TURBO.items():
        text = _text(folder / name)
        if text == is_on:
            hint = f"echo {1 - int(is_on)} > /sys/devices/system/cpu/{name}"
            return Finding(Grade.WARN, "turbo", "on: a core is faster while the others are idle", hint)
        if text is not None:
            return Finding(Grade.OK, "turbo", "off")
    return Finding(Grade.UNKNOWN, "turbo", VIRTUAL)


def swap(proc_root: pathlib.Path) -> Finding:
    """Jails do not swap, but a fork's pages are its warden's, and to read those back is charged to the fork."""
    text = _text(proc_root / "swaps")
    if text is None:
        return Finding(Grade.UNKNOWN, "swap", "unknown")
    areas = len(text.splitlines()) - 1
    if areas > 0:
        fact = f"on ({areas}): a run is charged for what is read back of its warden"
        return Finding(Grade.WARN, "swap", fact, "swapoff -a, and no swap in /etc/fstab")
    return Finding(Grade.OK, "swap", "none")


def huge_pages(sys_root: pathlib.Path) -> Finding:
    """The kernel gives a huge page where memory is unfragmented at that moment: the same program takes fewer faults."""
    text = _text(sys_root / "kernel/mm/transparent_hugepage/enabled")
    if text is None:
        return Finding(Grade.UNKNOWN, "hugepages", "unknown")
    chosen = text.partition("[")[2].partition("]")[0] or text
    if chosen == "always":
        hint = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        return Finding(Grade.WARN, "hugepages", "always: chance decides how many page faults a program takes", hint)
    return Finding(Grade.OK, "hugepages", chosen)


def other_work(
    graded: tuple[int, ...], before: dict[int, list[int]], after: dict[int, list[int]], isolated: str | None
) -> Finding:
    """Other work on a graded core empties its caches, and what a virtual machine's host steals may be charged."""
    busy, stolen = [], []
    for core in graded:
        spent = [now - then for now, then in zip(after.get(core, []), before.get(core, []), strict=False)]
        if len(spent) <= STEAL or sum(spent) == 0:
            continue
        own = sum(spent[kind] for kind in (USER, NICE, SYSTEM, IRQ, SOFTIRQ))
        if own > BUSY_SHARE * sum(spent):
            busy.append(f"core {core} {own / sum(spent):.0%}")
        if spent[STEAL] > STEAL_SHARE * sum(spent):
            stolen.append(f"core {core} {spent[STEAL] / sum(spent):.1%}")
    if stolen:
        hint = "give this virtual machine cores of its own"
        return Finding(Grade.WARN, "other work", f"the host of this machine took {', '.join(stolen)}", hint)
    if busy:
        hint = "end it, or keep it off with isolcpus= or CPUAffinity= of systemd, and name the cores in grade_cores"
        return Finding(Grade.WARN, "other work", f"busy while nothing is graded: {', '.join(busy)}", hint)
    if not after:
        return Finding(Grade.UNKNOWN, "other work", "unknown")
    alone = cores.as_list(set(cores.parse(isolated or "")) & set(graded))
    return Finding(Grade.OK, "other work", f"none now; isolated graded cores: {alone or 'none'}")


def core_times(proc_root: pathlib.Path) -> dict[int, list[int]]:
    """Of each core, the clock ticks spent in each state since the start of the system (proc_stat(5))."""
    found = {}
    for line in (_text(proc_root / "stat") or "").splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdecimal():
            found[int(name[3:])] = [int(number) for number in numbers]
    return found


def _text(path: pathlib.Path) -> str | None:
    """None where there is no such file, or it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
