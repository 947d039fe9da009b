"""What comes with go as the program's input is a file at descriptor 0, however far the program had come before."""

import pathlib
from collections.abc import Iterator

import pytest

from daemon.sandbox.messages import Failed, Status
from daemon.sandbox.plan import Warm

from . import player
from .player import Player

PYTHON = "/usr/bin/python3"
EXEC = player.step("exec", (PYTHON,), Warm.EXEC, source_name="main.py")
GATED = player.step("gated", (PYTHON, "-c"), Warm.PRELOAD)
STDIN = player.step("stdin", (PYTHON, "-"), Warm.STDIN)
LOOK = "import os, sys; print(os.fstat(0).st_size, os.lseek(0, 0, 1), sys.stdin.seekable(), sys.stdin.read())"
LOADED = "import ctypes; ctypes.CDLL('/cellblock/input.so').napi_register_module_v1(None, None)"


@pytest.fixture(scope="module")
def commands(package: pathlib.Path) -> Iterator[Player]:
    with Player(player.plan(EXEC, GATED, STDIN), package) as running:
        yield running.ready()


def test_command_that_starts_at_go_has_it(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(PYTHON, "main.py", source=LOOK.encode(), stdin=b"given")
    assert jail.output() == (b"5 0 True given\n", b"")
    assert jail.status() == Status(0)


def test_fork_has_it(forks: Player) -> None:
    jail = forks.make("fork", Warm.FORK).park()
    jail.go(source=LOOK.encode(), stdin=b"given")
    assert jail.output() == (b"5 0 True given\n", b"")
    forks.fork_ended()


def test_fork_without_one_has_its_pipe_and_knows_that_it_cannot_be_rewound(forks: Player) -> None:
    jail = forks.make("fork", Warm.FORK).park()
    jail.go(source=b"import sys; print(sys.stdin.seekable(), sys.stdin.read(), sys.stdin is sys.__stdin__)")
    jail.feed(b"given")
    assert jail.output() == (b"False given True\n", b"")
    forks.fork_ended()


@pytest.mark.parametrize("given", [b"given", None])
def test_runtime_that_loads_the_library_has_it_and_its_arguments(commands: Player, given: bytes | None) -> None:
    """Without one it keeps its pipe. No descriptor but the gate's and that of its end is left open."""
    told = "print(os.read(3, 99), sys.stdin.read(), sorted(os.listdir('/proc/self/fd')))"
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", f"import os, sys; {LOADED}; {told}")).park()
    jail.go("one", stdin=given)
    if given is None:
        jail.feed(b"piped")
    said = "given" if given else "piped"
    assert jail.output() == (f"b'go\\x00one\\x00' {said} ['0', '1', '2', '3', '4', '5']\n".encode(), b"")
    assert jail.status() == Status(0)


def test_runtime_that_does_not_say_that_it_takes_its_input_is_not_parked(commands: Player) -> None:
    """Its programs would find nothing at 0, and fail tests that they solve."""
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", "import os; os.write(3, b'ready'); os.read(3, 99)"))
    assert jail.failure() == Failed(
        "park", 'the program says "ready", not "takes", so its input would be lost: Protocol error'
    )


def test_program_whose_input_is_its_source_is_not_given_another(commands: Player) -> None:
    jail = commands.make("stdin", Warm.STDIN, (PYTHON, "-")).park()
    jail.go(stdin=b"given")
    assert jail.failure() == Failed("go", "message: Protocol error")
