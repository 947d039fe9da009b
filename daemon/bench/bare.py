"""The same programs without any sandbox: the commands of the toolchain file, in a directory of their own."""

import pathlib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.toolchain.schema import ROOT_PLACEHOLDER, Toolchain


class Bare:
    """One directory; not for two threads."""

    def __init__(self, toolchain: Toolchain, root: pathlib.Path, directory: pathlib.Path) -> None:
        assert toolchain.bench is not None
        self._source, self._directory = toolchain.source, directory
        self._commands = [[_at(root, word) for word in command] for command in toolchain.bench.bare]
        for name, target in toolchain.bench.links.items():
            (directory / name).symlink_to(_at(root, target))

    def run(self, code: str) -> str:
        """What the last command printed. Raises CalledProcessError."""
        (self._directory / self._source).write_text(code)
        output = ""
        for command in self._commands:
            done = subprocess.run(
                command, cwd=self._directory, stdin=subprocess.DEVNULL, capture_output=True, check=True
            )
            output = done.stdout.decode()
        return output


def _at(root: pathlib.Path, text: str) -> str:
    return text.replace(ROOT_PLACEHOLDER, str(root), 1)


@contextmanager
def bare(toolchain: Toolchain, root: pathlib.Path) -> Iterator[Bare]:
    with tempfile.TemporaryDirectory(prefix="cellblock-bench-") as directory:
        yield Bare(toolchain, root, pathlib.Path(directory))
