"""The warden with a test in the keeper's place: what each kind of jail does from `Make` to its end."""

import contextlib
import dataclasses
import os
import pathlib
import re
import select
import signal
import stat
import struct
import tempfile
import time
from collections.abc import Iterator

import psutil
import pytest

from daemon.judge.files import packed_files
from daemon.sandbox.descriptors import close_all, memfd
from daemon.sandbox.messages import Failed, NotMade, Status
from daemon.sandbox.plan import StepPlan, Warm

from . import player
from .player import FORK, Jail, Player

HELPERS = 2  # of a warden: the zygote and the maker
PYTHON = "/usr/bin/python3"
SHELL = "/usr/bin/dash"
EXEC = player.step("exec", (PYTHON,), Warm.EXEC, source_name="main.py", leaves=("made",))
BUILT = player.step("built", ("/work/main",), Warm.EXEC, takes_artifact="main")
STDIN = player.step("stdin", (PYTHON, "-"), Warm.STDIN, leaves=("made",))
GATED = player.step("gated", (SHELL, "-c"), Warm.PRELOAD)
TAKES = "import os; os.write(3, b'takes'); os.read(3, 99)"


@pytest.fixture(scope="module")
def commands(package: pathlib.Path) -> Iterator[Player]:
    with Player(player.plan(EXEC, BUILT, STDIN, GATED), package) as running:
        yield running.ready()


def test_command_that_starts_at_go_runs_its_source_and_leaves_its_artefact(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(PYTHON, "main.py", "one", "ü", source=b"import sys; print(sys.argv[1:]); open('made', 'w').write('left')")
    assert jail.output() == ("['one', 'ü']\n".encode(), b"")
    assert jail.status() == Status(0, left=(0,))
    assert jail.artifact == [b"left"]


@pytest.mark.parametrize("warm", [Warm.EXEC, Warm.FORK])
def test_whoever_starts_the_program_joins_a_group_first(commands: Player, forks: Player, warm: Warm) -> None:
    """It writes "0", its own number (cgroups(7)), where the keeper says, and the program has no such descriptor."""
    source = b"import os; print(sorted(os.listdir('/proc/self/fd')))"
    with tempfile.TemporaryFile() as group:
        jail = (commands.make("exec", warm) if warm is Warm.EXEC else forks.make("fork", warm)).park()
        jail.go(*([PYTHON, "main.py"] if warm is Warm.EXEC else []), source=source, join=group.fileno())
        assert jail.output() == (b"['0', '1', '2', '3']\n", b"")  # 3 is of listdir
        group.seek(0)
        assert group.read() == b"0"
    if warm is Warm.FORK:
        forks.fork_ended()


def test_go_whose_group_cannot_be_joined_starts_nothing(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    with open("/dev/full", "wb") as full:
        jail.go(PYTHON, "main.py", source=b"print('started')", join=full.fileno())
    assert jail.failure() == Failed("go", "join: No space left on device")
    assert jail.output() == (b"", b"")


@pytest.mark.threat("F1")
def test_artefact_that_is_a_link_is_not_opened(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(PYTHON, "main.py", source=b"import os; os.symlink('main.py', 'made')")
    assert jail.status() == Status(0)
    assert jail.artifact == []


@pytest.mark.threat("F9")
def test_run_leaves_the_plain_files_that_were_asked_for(commands: Player) -> None:
    """By their number; no link, no folder, no FIFO that nobody writes to, and nothing that is not there."""
    jail = commands.make("built", Warm.EXEC).park()
    build = b"#!/bin/sh\necho $#; mkdir d; echo one > d/one; ln -s d/one link; mkfifo fifo; echo two > 'a b'; ln -s /etc etc; ln -s d e\n"
    jail.go(
        "/work/main",
        "argument",
        artifact=build,
        leaves=("link", "d/one", "d", "fifo", "none", "a b", "etc/passwd", "e/one"),
    )
    assert jail.output() == (b"1\n", b"")
    status, descriptors = jail.hear()
    kinds = [stat.S_IFMT(os.fstat(one).st_mode) for one in descriptors]
    assert status == Status(0, left=(1, 2, 3, 5))
    assert kinds == [stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFREG]  # the keeper lets plain files pass alone
    assert (os.pread(descriptors[0], 9, 0), os.pread(descriptors[3], 9, 0)) == (b"one\n", b"two\n")
    close_all(descriptors)


def test_program_that_was_started_before_go_leaves_files_and_does_not_see_their_names(commands: Player) -> None:
    source = "import os; os.write(3, b'takes'); open('made', 'w').write(repr(os.read(3, 99))); os.write(4, b'ended'); os.read(3, 1)"
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", source)).park()
    jail.go("one", leaves=("none", "made"))
    status = jail.status()
    assert (status.status, status.left) == (0, (1,))
    assert jail.artifact == [b"b'go\\x00one\\x00'"]


def test_status_is_the_raw_one_of_wait(commands: Player) -> None:
    for source, status in ((b"raise SystemExit(3)", 3 << 8), (b"import os; os.kill(os.getpid(), 9)", 9)):
        jail = commands.make("exec", Warm.EXEC).park()
        jail.go(PYTHON, "main.py", source=source)
        assert jail.status() == Status(status)


def test_build_that_is_no_program_is_told_as_a_shell_tells_it(commands: Player) -> None:
    jail = commands.make("built", Warm.EXEC).park()
    jail.go("/work/main", artifact=b"no program")
    assert jail.status() == Status(126 << 8)
    assert jail.output() == (b"", b"/work/main: Exec format error\n")


def test_command_of_ours_that_cannot_start_is_our_failure(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go("/usr/bin/no-such-program", source=b"")
    failed = jail.failure()
    assert (failed.stage, failed.reason) == ("exec", "/usr/bin/no-such-program: No such file or directory")


def test_program_starts_with_default_signals_and_no_descriptor_but_its_streams(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    script = "ls -l /proc/$$/fd; exec cat /proc/self/status"
    jail.go(SHELL, "-c", script, source=b"")
    text = jail.output()[0].decode()
    assert re.search(r"SigIgn:\t0+\n", text), text
    assert re.search(r"SigBlk:\t0+\n", text), text
    assert set(re.findall(r" (\d+) -> ", text)) == {"0", "1", "2"}, text


def test_program_has_no_right_in_any_set_and_a_filter(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(SHELL, "-c", "cat /proc/1/status /proc/$$/status", source=b"")
    text = jail.output()[0].decode()
    assert text.count("Name:") == 2
    assert set(re.findall(r"Cap\w+:\t(\w+)", text)) == {"0" * 16}
    assert set(re.findall(r"Seccomp:\t(\d)", text)) == {"2"}
    assert set(re.findall(r"NoNewPrivs:\t(\d)", text)) == {"1"}
    uid = 1000 + jail.number
    assert set(re.findall(r"[UG]id:\t(.*)", text)) == {"\t".join([str(uid)] * 4)}


def test_files_are_put_below_work_with_their_directories(commands: Player) -> None:
    packed = b"".join(
        struct.pack("<IIQ", len(name), 0, len(content)) + name + content
        for name, content in ((b"a/b/c.txt", b"deep"), (b"empty", b""), (b"a/d", b"x" * 3_000_000))
    )
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(
        PYTHON,
        "main.py",
        source=b"print(open('a/b/c.txt').read(), open('empty').read(), len(open('a/d').read()))",
        files=packed,
    )
    assert jail.output() == (b"deep  3000000\n", b"")


@pytest.mark.parametrize(
    "packed",
    [
        b"short",
        struct.pack("<IIQ", 3, 0, 10) + b"cut",
        struct.pack("<IIQ", 2, 0, 0) + b"/x",
        struct.pack("<IIQ", 0, 0, 0),
    ],
    ids=["no head", "cut", "absolute", "no name"],
)
def test_files_that_are_not_packed_well_are_a_failure_of_their_stage(commands: Player, packed: bytes) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(PYTHON, "main.py", source=b"", files=packed)
    assert jail.failure().stage == "source"


def test_go_with_other_descriptors_than_the_step_takes_is_refused(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(PYTHON, "main.py")
    assert jail.failure().stage == "go"


def test_jail_whose_channel_ends_before_go_ends(commands: Player) -> None:
    jail = commands.make("exec", Warm.EXEC).park()
    jail.channel.close()
    assert wait_until_dead(jail.pidfds[0])


def test_command_that_reads_its_source_is_started_before_go(commands: Player) -> None:
    jail = commands.make("stdin", Warm.STDIN, STDIN.argv).park()
    jail.go()
    os.write(jail.pipes[0], b"print('read'); open('made', 'w').write('left')")
    os.close(jail.pipes.pop(0))
    with open(jail.pipes[0], "rb", closefd=False) as stdout:
        assert stdout.read() == b"read\n"
    assert jail.status() == Status(0, left=(0,))
    assert jail.artifact == [b"left"]


def test_gate_gets_the_arguments_with_a_nul_after_each(commands: Player) -> None:
    source = "import os, sys; os.write(3, b'takes'); print(os.read(3, 99)); sys.exit(7)"
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", source)).park()
    jail.go("one", "")
    assert jail.output()[0] == b"b'go\\x00one\\x00\\x00'\n"
    assert jail.status() == Status(7 << 8)


def test_program_that_says_it_has_ended_lingers(commands: Player) -> None:
    source = "import os, time; os.write(3, b'takes'); os.read(3, 99); os.write(4, b'ended'); time.sleep(60)"
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", source)).park()
    jail.go()
    assert jail.status() == Status(0, lingers=True)
    assert wait_until_dead(jail.pidfds[0])


def test_program_that_says_something_else_there_is_waited_for(commands: Player) -> None:
    source = "import os; os.write(3, b'takes'); os.read(3, 99); os.write(4, b'other'); os._exit(5)"
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", source)).park()
    jail.go()
    assert jail.status() == Status(5 << 8)


def test_program_that_ends_before_go_is_a_failure_of_parking(commands: Player) -> None:
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", "raise SystemExit(4)"))
    failed = jail.failure()
    assert failed.stage == "park"
    assert f"wait status {4 << 8}" in failed.reason


def program_of(jail: Jail) -> int:
    """The pid of what its init has started."""
    about = pathlib.Path(f"/proc/self/fdinfo/{jail.pidfds[0]}").read_text()
    (program,) = psutil.Process(int(about.partition("\nPid:")[2].split()[0])).children()
    return program.pid


@pytest.mark.parametrize("warm", [Warm.STDIN, Warm.PRELOAD])
def test_program_that_is_killed_while_it_is_parked_is_a_failure_before_go(commands: Player, warm: Warm) -> None:
    """It was nobody's run, so a run that is given this jail would be told of an end that it has not had."""
    step = STDIN if warm is Warm.STDIN else GATED
    argv = step.argv if warm is Warm.STDIN else (PYTHON, "-c", TAKES)
    jail = commands.make(step.id, warm, argv).park()
    os.kill(program_of(jail), signal.SIGKILL)
    failed = jail.failure()
    assert failed.stage == "park"
    assert f"wait status {int(signal.SIGKILL)}" in failed.reason


def test_program_that_is_killed_before_it_hears_go_has_not_run(commands: Player) -> None:
    """Init has passed go on, or is about to: the files that came with it are in place."""
    jail = commands.make("gated", Warm.PRELOAD, (PYTHON, "-c", TAKES)).park()
    program = program_of(jail)
    os.kill(program, signal.SIGSTOP)
    jail.go(files=struct.pack("<IIQ", 6, 0, 0) + b"beside")
    until(lambda: os.path.exists(f"/proc/{program}/root/work/beside"))
    os.kill(program, signal.SIGKILL)
    assert jail.failure().stage == "go"


def test_program_that_is_killed_after_it_has_heard_go_was_killed(commands: Player) -> None:
    jail = commands.make(
        "gated", Warm.PRELOAD, (PYTHON, "-c", TAKES + "; import signal; print('heard', flush=True); signal.pause()")
    ).park()
    jail.go()
    with open(jail.pipes[1], "rb", buffering=0, closefd=False) as stdout:
        assert stdout.readline() == b"heard\n"
    os.kill(program_of(jail), signal.SIGKILL)
    assert jail.status() == Status(signal.SIGKILL)


@pytest.mark.threat("P4")
def test_orphans_are_reaped_while_the_program_runs(commands: Player) -> None:
    source = b"""
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.fork()  # the grandchild becomes an orphan of init
    os._exit(0)
os.wait()
os.close(writer)
os.read(reader, 1)  # until the orphan has ended
def is_zombie(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split()[2] == "Z"
    except OSError:  # it has been reaped since it was listed
        return False
while any(is_zombie(pid) for pid in os.listdir("/proc") if pid.isdigit()):
    time.sleep(0.001)
print("reaped")
"""
    jail = commands.make("exec", Warm.EXEC).park()
    jail.go(PYTHON, "main.py", source=source)
    assert jail.output() == (b"reaped\n", b"")


def test_group_that_cannot_be_joined_is_told_with_stage_and_reason(commands: Player) -> None:
    closed, other = os.pipe()
    jail = commands.make("exec", Warm.EXEC, groups=(closed,))  # its reading end
    os.close(closed)
    os.close(other)
    failed = jail.failure()
    assert (failed.stage, failed.reason) == ("cgroup", "write: Bad file descriptor")


def test_make_for_an_unknown_step_is_answered_and_the_warden_goes_on(commands: Player) -> None:
    jail = commands.ask("nothing", Warm.EXEC)
    assert commands.refusal().jail == jail.number
    assert commands.make("exec", Warm.EXEC).park()


def test_make_with_a_command_that_nobody_would_start_is_answered(commands: Player) -> None:
    jail = commands.ask("exec", Warm.EXEC, (PYTHON,))
    assert commands.refusal().jail == jail.number


# -- forks


def test_fork_runs_its_source_as_the_interpreter_would(forks: Player) -> None:
    jail = forks.make("fork", Warm.FORK).park()
    jail.go("one", "ü", "", source=b"import sys; print(__name__, sys.argv); print('x', file=sys.stderr); sys.exit(3)")
    assert jail.output() == ("__main__ ['main.py', 'one', 'ü', '']\n".encode(), b"x\n")
    ended = forks.fork_ended()
    assert (ended.jail, ended.status) == (jail.number, 3 << 8)
    assert wait_until_dead(jail.pidfds[1])
    assert not is_dead(jail.pidfds[0]), "init holds the namespaces until it is killed"


def test_fork_closes_its_channel_at_go(forks: Player) -> None:
    jail = forks.make("fork", Warm.FORK).park()
    jail.go(source=b"import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    with pytest.raises(EOFError):
        jail.hear()
    assert jail.output() == (b"[0, 1, 2]\n", b"")
    forks.fork_ended()


def test_fork_gets_sigint_as_python_does(forks: Player) -> None:
    jail = forks.make("fork", Warm.FORK).park()
    source = b"import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    print('heard')"
    jail.go(source=source)
    assert jail.output() == (b"heard\n", b"")
    forks.fork_ended()


def test_forks_see_nothing_of_each_other_and_files_come_with_them(forks: Player) -> None:
    packed = struct.pack("<IIQ", 8, 0, 7) + b"other.pyvalue=7"
    for _ in range(2):
        jail = forks.make("fork", Warm.FORK).park()
        jail.go(
            source=b"import os, other; print(other.value, os.getpid(), os.path.exists('left')); open('left', 'w')",
            files=packed,
        )
        assert jail.output() == (b"7 2 False\n", b"")
        forks.fork_ended()


def test_refused_fork_leaves_no_init(package: pathlib.Path) -> None:
    """Defect 3: an init that the zygote did not use was left with its namespaces."""
    with Player(player.plan(FORK), package) as running:
        running.ready()
        warden = warden_of(running)
        until(lambda: len(warden.children(recursive=True)) == HELPERS)  # the trial of prefault is gone
        zygote = warden.children()[0]
        rlimit = zygote.rlimit(psutil.RLIMIT_NOFILE)
        zygote.rlimit(psutil.RLIMIT_NOFILE, (8, rlimit[1]))  # no room for a pidfd beside what comes with an order
        jail = running.ask("fork", Warm.FORK)
        assert running.refusal() == NotMade(jail.number, "[Errno 24] the zygote: Too many open files")
        zygote.rlimit(psutil.RLIMIT_NOFILE, rlimit)
        until(lambda: len(warden.children(recursive=True)) == HELPERS)
        assert running.make("fork", Warm.FORK).park()


@pytest.mark.parametrize("number", [0, 1], ids=["zygote", "maker"])
def test_death_of_a_helper_ends_the_warden_at_once(package: pathlib.Path, number: int) -> None:
    """Defect 2: the maker's inits kept its socket open, and its death was noticed at the third request."""
    with Player(player.plan(FORK), package) as running:
        running.ready()
        running.make("fork", Warm.FORK).park()
        helpers = sorted(warden_of(running).children(), key=lambda child: child.pid)
        began = time.monotonic()
        helpers[number].send_signal(signal.SIGKILL)
        with pytest.raises(EOFError):
            running.hear()
        assert time.monotonic() - began < 2


@pytest.mark.slow
def test_helper_that_hangs_ends_the_warden_in_seconds(package: pathlib.Path) -> None:
    with Player(player.plan(FORK), package) as running:
        running.ready()
        helpers = sorted(warden_of(running).children(), key=lambda child: child.pid)
        helpers[1].suspend()
        running.ask("fork", Warm.FORK)
        with pytest.raises(EOFError):
            running.hear()


def warden_of(running: Player) -> psutil.Process:
    return psutil.Process(running.process.pid).children()[0]


def is_dead(pidfd: int, patience_s: float = 0) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(patience_s * 1000))


def wait_until_dead(pidfd: int) -> bool:
    return is_dead(pidfd, player.PATIENCE_S)


def until(condition: object) -> None:
    deadline = time.monotonic() + player.PATIENCE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_a_step_leaves_comes_whatever_its_status(package: pathlib.Path) -> None:
    """What is no file, or not there, is left out, and the others keep their numbers; a folder is packed."""
    judge = player.step(
        "judge", (PYTHON,), Warm.EXEC, source_name="main.py", leaves=("message", "none", "link", "feedback/")
    )
    source = b"""
import os
os.makedirs("feedback/deep/er")
open("message", "w").write("why")
open("feedback/deep/er/score.txt", "wb").write(bytes(range(256)) * 5000)
for name in ("a", "empty", "closed"):
    open("feedback/" + name, "w").write(name * (name != "empty"))
os.symlink("message", "link")
os.symlink("../message", "feedback/link")
os.mkfifo("feedback/fifo")
raise SystemExit(42)
"""
    with left_by(judge, source, package) as (status, left):
        assert status == Status(42 << 8, left=(0, 3))
        assert left[0] == b"why"
        packed = memfd("packed", left[1])
        found = {file.name: os.pread(packed, file.size, file.content) for file in packed_files(packed)}
        os.close(packed)
    assert found == {
        "feedback/deep/er/score.txt": bytes(range(256)) * 5000,
        "feedback/a": b"a", "feedback/empty": b"", "feedback/closed": b"closed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "left"),
    [
        (b"for n in range(200): open(f'{n:03}', 'w')", (0,)),
        (b"import resource\nfor n in range(5): open(f'{n}', 'w').truncate(12 << 20)", (0,)),
        (b"import resource\nfor n in range(6): open(f'{n}', 'w').truncate(12 << 20)", ()),
        (b"for n in range(1001): os.link('/work/main.py', f'{n}')", ()),
        (b"os.chmod(os.open('closed', os.O_CREAT), 0)", ()),
        (b"for n in range(17): os.mkdir('a'); os.chdir('a')\nopen('file', 'w')", ()),
        (b"for n in range(6): os.mkdir('a' * 200); os.chdir('a' * 200)", ()),
        (b"os.chdir('/work'); os.rmdir('feedback')", ()),
        (b"os.chdir('/work'); os.rename('feedback', 'other'); os.symlink('other', 'feedback')", ()),
    ],
)
def test_a_folder_leaves_whole_or_not_at_all(package: pathlib.Path, source: bytes, left: tuple[int, ...]) -> None:
    roomy = dataclasses.replace(player.SPEC, scratch_inodes=2000)
    judge = player.step("judge", (PYTHON,), Warm.EXEC, source_name="main.py", leaves=("feedback/",), jail=roomy)
    before = b"import os; os.mkdir('feedback'); os.chdir('feedback')\n"
    with left_by(judge, before + source, package) as (status, _):
        assert status == Status(0, left=left)


@contextlib.contextmanager
def left_by(judge: StepPlan, source: bytes, package: pathlib.Path) -> Iterator[tuple[Status, list[bytes]]]:
    """How a Python program ended, and what its step left."""
    with Player(player.plan(judge), package) as running:
        running.ready()
        jail = running.make("judge", Warm.EXEC).park()
        jail.go(PYTHON, "main.py", source=source)
        yield jail.status(), jail.artifact
