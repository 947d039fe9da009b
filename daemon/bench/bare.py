"""The same programs without any sandbox: the commands of the toolchain file, in a directory of their own."""

import contextlib
import os
import pathlib
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.toolchain.plan import ENVIRONMENT
from daemon.toolchain.schema import ROOT_PLACEHOLDER, BenchProgram, Toolchain

OF_THE_CALLER = ("PATH", "HOME")  # where compilers are, and what they keep


def environment() -> dict[str, str]:
    """What a bare command has: a jail's environment, with the caller's PATH and HOME.

    The caller's other variables would be measured with it: NODE_EXTRA_CA_CERTS adds 35 ms to each start of Node.
    """
    return ENVIRONMENT | {name: os.environ[name] for name in OF_THE_CALLER if name in os.environ}


class Bare:
    """One directory; not for two threads."""

    def __init__(self, toolchain: Toolchain, root: pathlib.Path, directory: pathlib.Path) -> None:
        assert toolchain.bench is not None
        self._source, self.directory = toolchain.source, directory
        self.commands = [[_at(root, word) for word in command] for command in toolchain.bench.bare]
        for name, target in toolchain.bench.links.items():
            (directory / name).symlink_to(_at(root, target))

    def write(self, code: str) -> None:
        """Put the sources in place. Raises OSError."""
        (self.directory / self._source).write_text(code)

    def run(self, code: str) -> str:
        """What the last command printed. Raises CalledProcessError."""
        self.write(code)
        output = ""
        for command in self.commands:
            output, _ = _ran(command, self.directory)
        return output

    def again(self) -> tuple[str, float]:
        """What the last command prints when it runs once more, after `run`, and its CPU seconds.

        Raises CalledProcessError."""
        return _ran(self.commands[-1], self.directory)


def _ran(command: list[str], directory: pathlib.Path) -> tuple[str, float]:
    """Its output, and CPU seconds with those of its children (wait4(2)).

    By posix_spawn(3): subprocess would add a tenth to a short command. Raises CalledProcessError."""
    reading, writing = os.pipe()
    with open(reading) as output, contextlib.chdir(directory):
        pid = os.posix_spawnp(command[0], command, environment(), file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
        os.close(writing)
        text = output.read()
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise subprocess.CalledProcessError(code, command, text)
    return text, used.ru_utime + used.ru_stime


def bare_rate(
    toolchain: Toolchain, root: pathlib.Path, program: BenchProgram, cores: int, seconds: float, *, is_seen: bool
) -> float:
    """Runs a second by `xargs -P`, each slot in a directory of its own. One that `is_seen` was compiled before.

    Raises CalledProcessError.
    """
    with contextlib.ExitStack() as stack:
        slots = [stack.enter_context(bare(toolchain, root)) for _ in range(cores)]
        for slot in slots:
            slot.run(program.code)
        home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cellblock-bench-")))
        for number, slot in enumerate(slots):
            (home / str(number)).symlink_to(slot.directory)
        commands = slots[0].commands[-1:] if is_seen else slots[0].commands
        command, directory = commands[0], slots[0].directory
        if len(commands) > 1:
            script = 'cd "$SLOT" && ' + " && ".join(map(shlex.join, commands))
            command, directory = ["sh", "-c", script], home
        xargs = ["xargs", "-P", str(cores), "-n", "1", "--process-slot-var=SLOT", *command]

        def spent_s(runs: int) -> float:
            started_s = time.perf_counter()
            done = subprocess.run(
                xargs, cwd=directory, env=environment(), input="x\n" * runs, stdout=subprocess.PIPE, text=True,
                check=True,
            )  # fmt: skip
            if len(done.stdout) != len(program.output) * runs:  # what two write at once may be mixed
                raise subprocess.CalledProcessError(1, xargs, done.stdout[:500])
            return time.perf_counter() - started_s

        runs = max(1, int(seconds / spent_s(2 * cores))) * 2 * cores
        return runs / spent_s(runs)


def _at(root: pathlib.Path, text: str) -> str:
    return text.replace(ROOT_PLACEHOLDER, str(root), 1)


@contextmanager
def bare(toolchain: Toolchain, root: pathlib.Path) -> Iterator[Bare]:
    """The bare commands of a toolchain, in folders of their own."""
    with tempfile.TemporaryDirectory(prefix="cellblock-bench-") as directory:
        yield Bare(toolchain, root, pathlib.Path(directory))
