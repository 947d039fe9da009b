"""The host's processors: lists of them, which share a physical core, and which graded runs may have."""

import pathlib
from collections.abc import Iterable

CPU_FOLDER = "devices/system/cpu"
SYS = pathlib.Path("/sys")
NUMBER_MAX = 8191  # CONFIG_NR_CPUS of the kernel is at most 8192


def parse(text: str) -> tuple[int, ...]:
    """What a list such as "0-3,6" names (cpuset(7), List format), in order, each once; empty for an empty text.

    Raises ValueError.
    """
    found: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{part!r} is no core and no range of cores, such as 2 or 2-7")
        low, high = int(first), int(last or first)
        if not low <= high <= NUMBER_MAX:
            raise ValueError(f"{part!r} is not in order, or above {NUMBER_MAX}")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def as_list(cores: Iterable[int]) -> str:
    """The shortest list that `parse` reads as these cores."""
    parts: list[list[int]] = []
    for core in sorted(set(cores)):
        if parts and core == parts[-1][-1] + 1:
            parts[-1][1:] = [core]
        else:
            parts.append([core])
    return ",".join("-".join(map(str, part)) for part in parts)


def siblings(core: int, root: pathlib.Path = SYS) -> tuple[int, ...]:
    """The hardware threads of the same physical core, itself included; itself alone where the kernel does not tell.

    From topology/core_cpus_list of the kernel's Documentation/admin-guide/cputopology.rst (thread_siblings_list is its
    older name). `root` stands for /sys.
    """
    for name in ("core_cpus_list", "thread_siblings_list"):
        try:
            found = parse((root / CPU_FOLDER / f"cpu{core}" / "topology" / name).read_text())
        except (OSError, ValueError):
            continue
        if core in found:
            return found
    return (core,)


def to_grade_on(usable: Iterable[int], wanted: Iterable[int] | None, root: pathlib.Path = SYS) -> tuple[int, ...]:
    """The cores for graded runs: the wanted ones, else one hardware thread of each physical core.

    Two threads of one core slow each other, and that shows in the CPU time by which verdicts are given. Raises
    ValueError where a wanted core cannot be used.
    """
    usable = sorted(usable)
    if wanted is not None:
        missing = set(wanted) - set(usable)
        if missing:
            there = as_list(usable) or "none, because this host cannot pin"
            raise ValueError(f"grade_cores: {as_list(missing)} cannot be used; there are: {there}")
        return tuple(sorted(wanted))
    chosen: list[int] = []
    for core in usable:
        if not set(siblings(core, root)) & set(chosen):
            chosen.append(core)
    return tuple(chosen)
