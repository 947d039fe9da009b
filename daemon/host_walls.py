"""What this host's kernel adds to the walls of a jail, or takes from them: second walls, and holes that it knows of.

Everything is read below `sys_root` and `proc_root`, which stand for /sys and /proc. What is not there is unknown.
"""

import pathlib
from collections.abc import Iterator

from daemon.finding import Finding, Grade
from daemon.grading.packages import confinement

SYS, PROC = pathlib.Path("/sys"), pathlib.Path("/proc")


def examine(sys_root: pathlib.Path = SYS, proc_root: pathlib.Path = PROC) -> Iterator[Finding]:
    """One finding for each. None of them stops a program from being run."""
    yield processor(sys_root / "devices/system/cpu")
    yield bpf(proc_root / "sys/kernel/unprivileged_bpf_disabled")
    yield faults(proc_root / "sys/vm/unprivileged_userfaultfd")
    yield crashes(proc_root / "sys/kernel/core_pattern")
    yield landlock(confinement.landlock_version())


def processor(folder: pathlib.Path) -> Finding:
    """Holes of the processor by which one program reads another's memory (admin-guide/hw-vuln in the kernel)."""
    texts = {path.name: _text(path) or "" for path in sorted(folder.glob("vulnerabilities/*"))}
    if not texts:
        return Finding(Grade.UNKNOWN, "processor", "this kernel does not tell of holes of the processor")
    open_ones = [name for name, text in texts.items() if "vulnerable" in text.lower()]
    if open_ones:
        hint = f"read {folder}/vulnerabilities: newer microcode, no mitigations=off, or SMT off"
        return Finding(Grade.WARN, "processor", f"the kernel says vulnerable: {', '.join(open_ones)}", hint)
    return Finding(Grade.OK, "processor", "the kernel knows of no hole that it leaves open")


def bpf(path: pathlib.Path) -> Finding:
    """Jails cannot call bpf(2); with this it is shut behind their filter, too."""
    match _text(path):
        case None:
            return Finding(Grade.UNKNOWN, "bpf", "this kernel does not tell who may load programs")
        case "0":
            return Finding(
                Grade.WARN, "bpf", "everybody may load programs", "sysctl kernel.unprivileged_bpf_disabled=1"
            )
    return Finding(Grade.OK, "bpf", "only root loads programs into the kernel")


def faults(path: pathlib.Path) -> Finding:
    """A program that stops the kernel in the middle of a copy makes its races easy to win (userfaultfd(2))."""
    match _text(path):
        case None:
            return Finding(Grade.UNKNOWN, "userfaultfd", "this kernel has none, or does not tell")
        case "1":
            hint = "sysctl vm.unprivileged_userfaultfd=0"
            return Finding(Grade.WARN, "userfaultfd", "everybody may handle faults of the kernel", hint)
    return Finding(Grade.OK, "userfaultfd", "only root handles faults of the kernel")


def crashes(path: pathlib.Path) -> Finding:
    """A handler is started as root for each crash on the host, those in containers too (core(5)); jails keep it away by
    a limit of 1, under which a pipe is not started."""
    pattern = _text(path)
    if pattern is None:
        return Finding(Grade.UNKNOWN, "core_pattern", "this kernel does not tell what becomes of crashes")
    if pattern.startswith("|"):
        return Finding(Grade.OK, "core_pattern", f"{pattern[1:].split()[0]}, which no crash in a jail reaches")
    return Finding(Grade.OK, "core_pattern", "no program is started for a crash")


def landlock(version: int) -> Finding:
    """Whoever unpacks an uploaded problem package sees its own folder alone, where the kernel has Landlock."""
    if version < 1:
        hint = "Linux 5.13 has it; where it is switched off, add landlock to lsm= of the kernel's command line"
        return Finding(Grade.WARN, "landlock", "not there: the reader of packages is only nobody", hint)
    return Finding(Grade.OK, "landlock", f"version {version}, for the reader of packages")


def _text(path: pathlib.Path) -> str | None:
    """None where there is no such file, or it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
