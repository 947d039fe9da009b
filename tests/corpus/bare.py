"""Runs a program on the bare host with the commands of its toolchain, and tells how it ended.

As nobody, in an empty folder, without a network device and in a pid namespace of its own: programs of strangers do not
get the machine. Memory is limited where a control group with a limit is given; the largest process's peak is told.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from tests.corpus.compare import Ending, Kind, Limits

INSIDE = str(pathlib.Path(__file__).with_name("inside.py"))
NAMESPACES = [
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--net",
    "--pid",
    "--ipc",
    "--mount",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
    "--",
]
COMPILE_S = 30.0
_one_in_the_group = threading.Lock()


@dataclasses.dataclass(frozen=True, slots=True)
class Commands:
    """How a language is run without cellblock; the last command runs, those before compile."""

    source: str
    argv: tuple[tuple[str, ...], ...]
    links: tuple[tuple[str, str], ...] = ()


# As `[bench] bare` of toolchains/*.toml, but for what a person would leave to the compiler: TypeScript's `lib`. The
# edition of Rust is the toolchain's, since there are programs of all.
COMMANDS = {
    "python": Commands("main.py", (("/usr/bin/python3", "main.py"),)),
    "typescript": Commands(
        "main.ts",
        (
            ("{root}/typescript/usr/lib/typescript/tsc", "--target", "es2024", "--types", "node", "--skipLibCheck",
             "main.ts"),
            ("{root}/typescript/usr/bin/node", "{folder}/main.js"),
        ),
        (("node_modules", "{root}/typescript/node_modules"),),
    ),
    "rust": Commands(
        "main.rs",
        (("{root}/rust/usr/bin/rustc", "--edition", "2021", "-O", "main.rs"), ("{folder}/main",)),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class _Ran:
    """A command's end. `status` is a wait status, None where a limit ended it."""

    status: int | None
    limit: Kind | None
    stdout: bytes
    stderr: bytes
    wall_s: float
    memory_bytes: int | None


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """An empty folder of nobody's. Not in /tmp, which a program has for itself."""
    path = tempfile.mkdtemp(prefix="corpus-", dir="/var/tmp")
    os.chmod(path, 0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _collect(process: subprocess.Popen[bytes], wall_s: float, output_bytes: int) -> tuple[Kind | None, bytes, bytes]:
    """Read both streams to their end, or to a limit, at which the program is killed."""
    assert process.stdout is not None and process.stderr is not None
    kept: dict[int, bytearray] = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    limit: Kind | None = None
    deadline = time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        for descriptor in kept:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map() and limit is None:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                kept[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
            if sum(map(len, kept.values())) > output_bytes:
                limit = Kind.OUTPUT_LIMIT
            elif time.monotonic() >= deadline:
                limit = Kind.TIME_LIMIT
    if limit is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        limit = Kind.TIME_LIMIT if process.poll() is None else None
    process.kill()
    process.wait()
    stdout, stderr = kept.values()
    return limit, bytes(stdout), bytes(stderr)


def _kills(group: pathlib.Path) -> int:
    """How often the kernel killed in this group for want of memory, of control groups v2 or v1."""
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(FileNotFoundError):
            found = re.search(r"^oom_kill (\d+)$", (group / name).read_text(), re.M)
            return int(found[1]) if found else 0
    sys.exit(f"{group} is no control group of the memory controller")


def _execute_in(group: pathlib.Path | None, argv: list[str], folder: str, limits: Limits) -> _Ran:
    """The last command, under the same memory limit as a jail where there is a group for it, one at a time."""
    if group is None:
        return _execute(argv, folder, limits.wall_s, limits.output_bytes)
    with _one_in_the_group:
        before = _kills(group)
        ran = _execute(argv, folder, limits.wall_s, limits.output_bytes, str(group / "cgroup.procs"))
        return dataclasses.replace(ran, limit=Kind.MEMORY_LIMIT) if _kills(group) > before else ran


def _execute(argv: list[str], folder: str, wall_s: float, output_bytes: int, procs: str = "") -> _Ran:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "TZ": "UTC"}
    told, tells = os.pipe()
    started_s = time.monotonic()
    with os.fdopen(told, "rb") as report:
        process = subprocess.Popen(
            [*NAMESPACES, "/usr/bin/python3", "-ISS", INSIDE, str(tells), procs, folder, *argv],
            cwd=folder, env=environment, pass_fds=[tells],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(tells)
        with process:
            assert process.stdin is not None
            process.stdin.close()
            limit, stdout, stderr = _collect(process, wall_s, output_bytes)
        wall = time.monotonic() - started_s
        lines = [json.loads(line) for line in report]
    facts = lines[0] if lines else {}
    if limit is None and "status" not in facts:
        sys.exit(f"no bare run can be made: {facts.get('failed')} {stderr.decode(errors='replace')}")
    return _Ran(facts.get("status"), limit, stdout, stderr, wall, facts.get("memory_bytes"))


def _ending(ran: _Ran, shown: dict[str, str]) -> Ending:
    stdout, stderr = (_as_shown(data, shown) for data in (ran.stdout, ran.stderr))
    if ran.limit is not None or ran.status is None:
        return Ending(ran.limit or Kind.TIME_LIMIT, None, None, stdout, stderr, ran.wall_s, ran.memory_bytes)
    if os.WIFSIGNALED(ran.status):
        name = signal.Signals(os.WTERMSIG(ran.status)).name
        return Ending(Kind.SIGNAL, None, name, stdout, stderr, ran.wall_s, ran.memory_bytes)
    code = os.WEXITSTATUS(ran.status)
    return Ending(Kind.EXITED, code, None, stdout, stderr, ran.wall_s, ran.memory_bytes)


def _as_shown(data: bytes, shown: dict[str, str]) -> str:
    text = data.decode(errors="replace")
    for path, name in shown.items():
        text = text.replace(path, name)
    return text


def run(language: str, code: str, root: pathlib.Path, limits: Limits, group: pathlib.Path | None = None) -> Ending:
    """Compile where the language wants it, and run. Needs root, which it gives up before the program starts."""
    commands = COMMANDS[language]
    with _folder() as folder:
        pathlib.Path(folder, commands.source).write_text(code, "utf-8", newline="")
        for name, target in commands.links:
            os.symlink(target.format(root=root), pathlib.Path(folder, name))
        shown = {folder: "/work", f"{root}/{language}/usr": "/usr"}  # what a jail calls them
        steps = [[word.format(root=root, folder=folder) for word in step] for step in commands.argv]
        for step in steps[:-1]:
            compiled = _execute(step, folder, COMPILE_S, 1 << 24)
            if compiled.limit is not None or compiled.status != 0:
                return dataclasses.replace(_ending(compiled, shown), kind=Kind.COMPILE_ERROR, code=None, signal=None)
        if not pathlib.Path(steps[-1][0]).exists():
            return Ending(Kind.COMPILE_ERROR, stderr="nothing was made that can be run")  # such as crate_type = "lib"
        if steps[:-1]:  # nor does a jail have the source of what is compiled
            for name in (commands.source, *(name for name, _ in commands.links)):
                pathlib.Path(folder, name).unlink()
        return _ending(_execute_in(group, steps[-1], folder, limits), shown)
