"""Control groups of this host, without a server: which of them serve another jail, and as what."""

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from daemon.host import cgroup
from daemon.sandbox.model import Limits

PYTHON, SHELL = (sys.executable, "-I", "-S", "-c"), ("/usr/bin/dash", "-c")
MB = 1 << 20
HALF_A_CPU = Limits(memory_bytes=64 * MB, wall_ns=0, processes=64, cpu_share_ms=500)
HOLDS = "import sys; kept = bytearray(b'x') * {}; print(flush=True); sys.stdin.read()"
THREADS = """
import sys, threading
over = threading.Event()
for _ in range({} - 1):
    threading.Thread(target=over.wait).start()
print(flush=True)
sys.stdin.read()
over.set()
"""


@pytest.fixture
def tree() -> Iterator[cgroup.Tree]:
    made = cgroup.open_tree(f"groups-{os.getpid()}")
    yield made
    for directory in made.paths():
        cgroup.mounts.destroy(directory, 2)


@contextlib.contextmanager
def inside(group: cgroup.Group, code: str, command: tuple[str, ...] = PYTHON) -> Iterator[None]:
    """A program in the group, which has printed a line and ends with the block."""
    joins = group.join_descriptors()

    def join() -> None:
        for descriptor in joins:
            os.write(descriptor, b"0")

    with subprocess.Popen([*command, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=join) as program:
        assert program.stdin is not None and program.stdout is not None
        assert program.stdout.readline() == b"\n"
        yield
        program.stdin.close()
        program.wait()


def written(tree: cgroup.Tree, group: cgroup.Group, of_v1: str, of_v2: str) -> str:
    """What the kernel says of a limit."""
    files = [pathlib.Path(top, group.name, of_v1 if tree.version == 1 else of_v2) for top in tree.paths()]
    (text,) = [file.read_text() for file in files if file.exists()]
    return text.strip()


def served(tree: cgroup.Tree) -> cgroup.Group:
    """A group that has served a jail with half a CPU, and is kept."""
    group = tree.take()
    group.set_limits(HALF_A_CPU)
    with inside(group, HOLDS.format(1)):
        pass
    assert tree.keep(group)
    return group


def test_a_group_that_is_used_again_has_the_limits_of_the_next_jail(tree: cgroup.Tree) -> None:
    first = served(tree)
    again = tree.take()
    assert again is first
    again.set_limits(Limits(memory_bytes=256 * MB, wall_ns=0, processes=32, cpu_share_ms=None))
    assert written(tree, again, "memory.limit_in_bytes", "memory.max") == str(256 * MB)
    assert written(tree, again, "pids.max", "pids.max") == "32"
    assert written(tree, again, "cpu.cfs_quota_us", "cpu.max").split()[0] in ("-1", "max")


def test_the_most_memory_is_of_the_jail_that_is_in_it(tree: cgroup.Tree) -> None:
    group = tree.take()
    with inside(group, HOLDS.format(30 * MB)):
        pass
    assert (group.peak_memory_bytes() or 0) > 30 * MB
    assert tree.keep(group)
    assert tree.take() is group
    assert (group.peak_memory_bytes() or 0) < MB


def test_a_group_that_refused_a_limit_is_nobodys_again(tree: cgroup.Tree) -> None:
    group = tree.take()
    group.set_limits(HALF_A_CPU)
    with inside(group, HOLDS.format(30 * MB)), pytest.raises(cgroup.TooSmall):
        group.set_limits(Limits(memory_bytes=4 * MB, wall_ns=0, processes=64))
    assert not tree.keep(group)
    assert group.remove()


@pytest.mark.parametrize(("threads", "is_kept"), [(16, True), (17, False)])
def test_a_group_in_which_many_threads_were_is_nobodys_again(tree: cgroup.Tree, threads: int, is_kept: bool) -> None:
    """A later jail with a lower limit would seem to have met it, where the host has no more processes."""
    group = tree.take()
    with inside(group, THREADS.format(threads)):
        pass
    assert tree.keep(group) is is_kept


def test_a_group_that_somebody_has_removed_in_one_hierarchy_is_passed_over(tree: cgroup.Tree) -> None:
    holds = [path for path in map(pathlib.Path, tree.paths()) if "cpuset" not in path.parts]
    for top in holds:
        for _ in range(2):  # a group that was used again, too
            served(tree)
        gone = served(tree)
        (top / gone.name).rmdir()
        assert tree.take() is not gone


def test_a_group_serves_nobody_while_a_process_is_in_it(tree: cgroup.Tree) -> None:
    group = tree.take()
    with inside(group, "echo; read line", SHELL):
        assert tree.keep(group)
        assert tree.take() is not group
    assert tree.take() is group


def test_its_files_are_open_as_long_as_it_is_there(tree: cgroup.Tree) -> None:
    before = len(os.listdir("/proc/self/fd"))
    group = served(tree)
    opened = []
    for _ in range(3):
        assert tree.take() is group
        group.watch_memory()
        with inside(group, HOLDS.format(1)):
            pass
        assert tree.keep(group)
        opened.append(len(os.listdir("/proc/self/fd")))
    assert before < opened[0] == opened[2]
    tree.take()
    assert group.remove()
    assert len(os.listdir("/proc/self/fd")) == before
