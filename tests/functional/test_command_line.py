"""`cellblock run` and `cellblock doctor` as a person at a shell meets them."""

import collections.abc
import concurrent.futures
import json
import os
import pathlib
import pty
import subprocess

import psutil
import pytest

from tests import posture
from tests.server import COMMAND, START_S, until

Write = collections.abc.Callable[[str, str], pathlib.Path]

RUNS_BESIDE = 24


def cellblock(*arguments: object, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def write(tmp_path: pathlib.Path) -> Write:
    def write(name: str, text: str) -> pathlib.Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_run_prints_what_the_program_prints_and_exits_as_it_does(write: Write) -> None:
    done = cellblock("run", write("a.py", "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(7)"))
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


@pytest.mark.parametrize(
    ("name", "code", "arguments", "status", "said"),
    [
        ("a.py", "while True: pass", ["--timeout", "0.3"], 124, "Execution timed out after 0.3 seconds"),
        ("a.py", "x = [bytearray(1 << 20) for _ in range(999)]", [], 137, "Memory limit of 128 MB exceeded"),
        ("a.py", "import os; os.abort()", [], 128 + 6, "Killed by signal 6 (SIGABRT)"),
        ("a.rs", "fn main() { wrong }", [], 65, "error[E0425]: cannot find value `wrong`"),
        ("a.cob", "", [], 125, "No language for the extension 'cob'"),
        ("a.py", "", ["--language", "cobol"], 125, "Unsupported language: cobol"),
        *[("a.py", "", ["--timeout", text], 125, "at most 60 seconds") for text in ("999", "1e308", "inf", "nan", "0")],
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else None,
)  # fmt: skip
def test_run_tells_a_bad_end_by_its_exit_status(
    write: Write, name: str, code: str, arguments: list[str], status: int, said: str
) -> None:
    done = cellblock("run", write(name, code), *arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "\x1b" not in done.stderr  # no colour in a pipe


def test_run_takes_input_and_gives_json(write: Write) -> None:
    program, data = write("a.py", "print(input()[::-1])"), write("in.txt", "desserts")
    facts = json.loads(cellblock("run", program, "--stdin", data, "--json").stdout)
    assert (facts["stdout"], facts["reason"], facts["success"]) == ("stressed\n", "exited", True)
    assert cellblock("run", program, "--stdin", "-", stdin=b"live").stdout == "evil\n"


def test_run_leaves_nothing_behind(write: Write) -> None:
    cellblock("run", write("a.py", "import os\nos.fork()\nwhile True: pass"), "--timeout", "0.2")
    assert not [path for path in posture.run_directories() if path.name.startswith("run-")]
    assert not posture.instance_groups("run-*")


def test_doctor_is_content_here() -> None:
    done = cellblock("doctor")
    assert done.returncode == 0, done.stdout
    for name in ("kernel", "cgroup", "nsjail", "seccomp", "python", "typescript", "rust"):
        assert f"ok    {name}" in done.stdout
    assert "fail" not in done.stdout


def test_doctor_tells_what_is_wrong_with_a_hint() -> None:
    done = cellblock("doctor", CELLBLOCK_NSJAIL="/nonexistent")
    assert done.returncode == 1
    assert "fail  nsjail       no executable /nonexistent\n                    hint: ./bootstrap install" in done.stdout


def test_a_wrong_setting_is_named() -> None:
    done = cellblock("serve", CELLBLOCK_MEMORY_MB="lots")
    assert done.returncode == 125
    assert "memory_mb: Input should be a valid integer" in done.stderr
    done = cellblock("serve", CELLBLOCK_MEMROY_MB="64")
    assert done.returncode == 125
    assert "CELLBLOCK_MEMROY_MB: there is no such setting; did you mean CELLBLOCK_MEMORY_MB?" in done.stderr


@pytest.mark.parametrize("command", [[], ["serve"], ["run"], ["doctor"]], ids=str)
def test_help_tells_what_each_command_does(command: list[str]) -> None:
    done = cellblock(*command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: cellblock")


@pytest.mark.slow
def test_runs_beside_each_other_do_not_sweep_each_other(write: Write) -> None:
    """Each has a keeper of its own; the end of one meets the start of others all the time."""
    program = write("a.py", "print(6 * 7)")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: cellblock("run", program), range(RUNS_BESIDE)))
    ends = [(done.returncode, done.stdout, done.stderr) for done in runs]
    assert ends == [(0, "42\n", "")] * RUNS_BESIDE
    assert not [path for path in posture.run_directories() if path.name.startswith("run-")]


def test_a_killed_run_is_swept_by_the_next_one(write: Write) -> None:
    program = write("a.py", "import time\ntime.sleep(60)")
    killed = subprocess.Popen([COMMAND, "run", program])
    until(lambda: any(path.name.startswith("run-") for path in posture.run_directories()), START_S)
    killed.kill()
    killed.wait()
    until(lambda: not killed_keepers(), START_S, "its keeper is gone with it")
    assert cellblock("run", write("b.py", "print(1)")).stdout == "1\n"
    assert not [path for path in posture.run_directories() if path.name.startswith("run-")]


def killed_keepers() -> list[psutil.Process]:
    return [
        process for process in psutil.process_iter(["cmdline"])
        if "daemon.keeper" in (process.info["cmdline"] or []) and any(word.startswith("run-") for word in process.info["cmdline"])
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Bad Name", "run-1", "../x"])
def test_an_instance_name_that_cannot_be_one_starts_nothing(name: str) -> None:
    done = cellblock("serve", "--port", "0", CELLBLOCK_INSTANCE=name)
    assert done.returncode == 125
    assert "instance: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["serve", "keeper", "http"])
def test_a_start_that_fails_is_one_line_of_json_in_a_log(command: str) -> None:
    done = cellblock(command, CELLBLOCK_INSTANCE="Bad Name")
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, line["level"], line["event"].partition(":")[0]) == (125, "critical", "instance")


def test_a_start_that_fails_is_plain_words_on_a_terminal() -> None:
    ours, terminal = pty.openpty()
    with open(ours, "rb", buffering=0) as shown:
        environment = {**os.environ, "CELLBLOCK_INSTANCE": "Bad Name"}
        with open(terminal, "wb") as screen:
            assert subprocess.run([COMMAND, "serve"], stderr=screen, env=environment, check=False).returncode == 125
        assert b"cellblock: instance: " in shown.read(4096)
