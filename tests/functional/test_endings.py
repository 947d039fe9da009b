"""Each way a program can end is reported exactly."""

import time
from typing import Any

import pytest

from tests.server import SLACK_S, Server


def delay_s(cellblock: Server, language: str, code: str) -> tuple[dict[str, Any], float]:
    """The answer, and how long after the program's last word it came.

    The last line of its output is CLOCK_MONOTONIC in seconds, which jails and the client share.
    """
    answer = cellblock.execute(language, code)
    now_s = time.monotonic()
    *lines, last = answer["output"].splitlines()
    return {**answer, "output": "".join(f"{line}\n" for line in lines)}, now_s - float(last)


def test_exit_status_zero_is_success(cellblock: Server) -> None:
    answer = cellblock.execute("python", "print('hi')")
    assert answer["output"] == answer["stdout"] == "hi\n"
    assert answer["success"] is True
    assert answer["error"] is None
    assert (answer["reason"], answer["exit_code"], answer["signal"]) == ("exited", 0, None)


@pytest.mark.threat("P1")
@pytest.mark.parametrize("code", [1, 2, 3, 124, 125, 126, 127, 128, pytest.param(137, marks=pytest.mark.vm), 139, 255])
def test_every_exit_code_is_the_programs_own(cellblock: Server, code: int) -> None:
    """exit(137) is not a kill and exit(255) is not an internal error."""
    answer = cellblock.execute("python", f"import sys; sys.exit({code})")
    assert (answer["reason"], answer["exit_code"], answer["signal"]) == ("exited", code, None)
    assert answer["error"] == f"Exited with code {code}"
    assert answer["success"] is False


@pytest.mark.threat("P1")
@pytest.mark.parametrize(
    "name", ["SIGSEGV", "SIGKILL", "SIGTERM", "SIGALRM", "SIGPIPE", "SIGXFSZ", "SIGXCPU", "SIGFPE"]
)
def test_signals_are_named(cellblock: Server, name: str) -> None:
    code = f"import os, signal\nsignal.signal(signal.{name}, signal.SIG_DFL) if '{name}' != 'SIGKILL' else 0\n"
    answer = cellblock.execute("python", code + f"os.kill(os.getpid(), signal.{name})")
    assert (answer["reason"], answer["signal"], answer["exit_code"]) == ("signal", name, None)
    assert answer["error"].endswith(f"({name})")


@pytest.mark.threat("P1")
def test_abort_is_sigabrt_with_what_the_program_said(cellblock: Server) -> None:
    answer = cellblock.execute("python", "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos.abort()")
    assert answer["signal"] == "SIGABRT"
    assert answer["error"] == "last words\nKilled by signal 6 (SIGABRT)"


def test_output_before_a_failure_is_kept(cellblock: Server) -> None:
    answer = cellblock.execute("python", "print('before')\n1/0")
    assert answer["output"] == "before\n"
    assert answer["exit_code"] == 1
    assert answer["error"] == answer["stderr"]
    assert "ZeroDivisionError: division by zero" in answer["error"]


@pytest.mark.threat("P3")
def test_a_grandchild_that_keeps_stdout_open_does_not_delay_the_answer(cellblock: Server) -> None:
    """The answer comes within 100 ms of main's end."""
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(30)\nprint('main is done')\nprint(time.monotonic())"
    answer, late_s = delay_s(cellblock, "python", code)
    assert (answer["output"], answer["reason"]) == ("main is done\n", "exited")
    assert late_s < SLACK_S


@pytest.mark.threat("P3")
@pytest.mark.vm
def test_a_node_that_ends_takes_what_it_left_behind_with_it(cellblock: Server) -> None:
    """The answer comes within 100 ms of main's end."""
    code = """
        import { spawn } from "node:child_process";
        spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true, stdio: "inherit" }).unref();
        console.log("main is done");
        process.on("exit", () => console.log(Number(process.hrtime.bigint()) / 1e9));
    """
    answer, late_s = delay_s(cellblock, "typescript", code)
    assert (answer["output"], answer["success"]) == ("main is done\n", True)
    assert late_s < SLACK_S


def test_all_output_of_a_node_arrives_before_its_end(cellblock: Server) -> None:
    answer = cellblock.execute("typescript", "process.stdout.write('x'.repeat(1_000_000)); console.error('last');")
    assert (len(answer["stdout"]), answer["stderr"], answer["reason"]) == (1_000_000, "last\n", "exited")


@pytest.mark.vm
def test_a_node_that_lies_about_its_end_has_ended(cellblock: Server) -> None:
    """Its preload tells of the end on descriptor 4; a program that does so itself could as well have exited."""
    answer = cellblock.execute("typescript", "require('fs').writeSync(4, 'ended'); for (;;);", timeout=5)
    assert (answer["reason"], answer["exit_code"], answer["success"]) == ("exited", 0, True)
    answer = cellblock.execute(
        "typescript", "require('fs').writeSync(4, 'nonsense'); console.log('on'); process.exit(3)"
    )
    assert (answer["output"], answer["exit_code"]) == ("on\n", 3)


def test_a_node_that_only_speaks_of_its_end_goes_on(cellblock: Server) -> None:
    answer = cellblock.execute("typescript", "process.emit('exit', 0); console.log('on'); process.exitCode = 3;")
    assert (answer["output"], answer["exit_code"]) == ("on\n", 3)


def test_a_program_that_ignores_its_input_is_fine(cellblock: Server) -> None:
    answer = cellblock.execute("python", "print('no thanks')", stdin="x" * 300_000)
    assert (answer["output"], answer["success"]) == ("no thanks\n", True)


@pytest.mark.threat("O2")
def test_closed_stdout_is_not_our_problem(cellblock: Server) -> None:
    answer = cellblock.execute("python", "import os\nos.close(1)\nos.close(2)\nos._exit(7)")
    assert (answer["output"], answer["exit_code"]) == ("", 7)


@pytest.mark.threat("P3", "U2")
def test_an_output_that_is_held_in_a_cycle_of_sockets_does_not_delay_the_answer(cellblock: Server) -> None:
    """Each socket is on its way through the other: no process holds them, and the kernel closes the output some tenths of
    a second later (unix(7), SCM_RIGHTS)."""
    code = """
import os, socket, time
one, other = socket.socketpair()
socket.send_fds(one, [b"x"], [1, 2, other.fileno()])
socket.send_fds(other, [b"x"], [1, 2, one.fileno()])
one.close(), other.close()
os.write(1, b"%.6f" % time.monotonic())
os._exit(0)
"""
    answer, late_s = delay_s(cellblock, "python", code)
    assert answer["reason"] == "exited"
    assert late_s < SLACK_S


@pytest.mark.threat("U2")
def test_a_program_ends_with_its_last_thread_and_exec_from_a_thread_replaces_it(cellblock: Server) -> None:
    leader = """
import ctypes, os, threading, time
def last():
    time.sleep(0.05)
    os.write(1, b"last")
    os._exit(4)
threading.Thread(target=last).start()
ctypes.CDLL(None).syscall(60, 0)  # the exit of the first thread alone
"""
    answer = cellblock.execute("python", leader, timeout=5)
    assert (answer["output"], answer["exit_code"]) == ("last", 4), answer
    replaced = """
import os, threading, time
threading.Thread(target=os.execv, args=("/bin/sh", ["sh", "-c", "echo $$; exit 3"])).start()
time.sleep(30)
"""
    answer = cellblock.execute("python", replaced, timeout=5)
    assert (answer["output"], answer["exit_code"]) == ("2\n", 3), answer


@pytest.mark.threat("P4")
@pytest.mark.slow
def test_a_thousand_orphans_are_reaped_while_the_program_runs(cellblock: Server) -> None:
    """Of 64 processes that it may have: each could not be made if those before were still there."""
    code = """
import os
for _ in range(1000):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
print("all")
"""
    assert cellblock.execute("python", code, timeout=60)["output"] == "all\n"
