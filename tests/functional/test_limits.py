"""Each limit ends a program at its bound, with its own reason, and nothing else does."""

import json
import pathlib

import pytest

from tests.server import SLACK_S, Server, readable

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
HOG = "kept = []\nwhile True: kept.append(bytearray(1 << 20))"


@pytest.mark.threat("T1")
@pytest.mark.vm
@pytest.mark.parametrize("code", ["while True: pass", "import time\ntime.sleep(60)"], ids=["busy", "asleep"])
def test_wall_time_ends_a_program(cellblock: Server, code: str) -> None:
    """The client has its answer within 100 ms of the limit."""
    answer, took_s = cellblock.execute_timed("python", code, timeout=1)
    assert (answer["reason"], answer["error"]) == ("time_limit", "Execution timed out after 1 second")
    assert 1 <= took_s < 1 + SLACK_S


SLEEPERS = {
    "python": "import time\ntime.sleep(60)",
    "typescript": "setTimeout(() => {}, 60000)",
    "rust": "fn main() { std::thread::sleep(std::time::Duration::from_secs(60)) }",
}


@pytest.mark.parametrize("language", SLEEPERS)
def test_a_limit_that_is_over_before_the_program_starts_is_a_time_limit(cellblock: Server, language: str) -> None:
    """A jail needs a moment between go and the program's first instruction: no verdict may hang on it."""
    cellblock.execute(language, SLEEPERS[language], timeout=0.05)  # compiled from now on
    for _ in range(10):
        answer, took_s = cellblock.execute_timed(language, SLEEPERS[language], timeout=0.0001)
        assert answer["reason"] == "time_limit"
        assert took_s < SLACK_S


@pytest.mark.threat("T1")
def test_ignoring_sigterm_does_not_help(cellblock: Server) -> None:
    code = "import signal\nfor n in range(1, 32):\n    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\nwhile True: pass"
    answer, took_s = cellblock.execute_timed("python", code, timeout=0.5)
    assert answer["reason"] == "time_limit"
    assert 0.5 <= took_s < 0.5 + SLACK_S


@pytest.mark.threat("T3")
def test_stopping_oneself_is_a_time_limit(cellblock: Server) -> None:
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"
    answer, took_s = cellblock.execute_timed("python", code, timeout=0.5)
    assert answer["reason"] == "time_limit"
    assert 0.5 <= took_s < 0.5 + SLACK_S


@pytest.mark.threat("T2")
@pytest.mark.vm
def test_cpu_time_ends_a_program_and_counts_its_children(cellblock: Server) -> None:
    code = "import os\nif os.fork() == 0:\n    while True: pass\nos.wait()"
    answer = cellblock.execute("python", code, cpu_time_limit=0.3, timeout=20)
    assert (answer["reason"], answer["error"]) == ("cpu_limit", "CPU time limit of 0.3 seconds exceeded")
    assert 0.3 <= answer["cpu_time"] < 0.3 + SLACK_S


@pytest.mark.vm
def test_half_a_cpu_is_what_a_busy_program_gets(cellblock: Server) -> None:
    answer = cellblock.execute("python", "while True: pass", timeout=3)
    assert answer["cpu_time"] <= 0.5 * 4 + 0.25  # a quota per period of one second, of which four are touched


@pytest.mark.threat("M1")
@pytest.mark.vm
def test_memory_ends_a_program(cellblock: Server) -> None:
    answer = cellblock.execute("python", HOG)
    assert (answer["reason"], answer["error"]) == ("memory_limit", "Memory limit of 128 MB exceeded")
    assert answer["memory_bytes"] is None or 120 << 20 <= answer["memory_bytes"] <= 128 << 20


@pytest.mark.threat("M1")
@pytest.mark.vm
def test_a_child_that_runs_out_of_memory_is_the_whole_jails_end(cellblock: Server) -> None:
    code = f"import os, time\nif os.fork() == 0:\n    exec({HOG!r})\nos.wait()\ntime.sleep(5)\nprint('main lives on')"
    answer = cellblock.execute("python", code)
    assert answer["reason"] == "memory_limit"
    assert answer["output"] == ""


@pytest.mark.threat("M1")
@pytest.mark.vm
def test_ten_processes_together_have_one_memory_limit(cellblock: Server) -> None:
    code = (
        "import os, time\nfor _ in range(10):\n    if os.fork() == 0:\n        kept = bytearray(b'x') * (30 << 20)\n"
        "        time.sleep(5)\nfor _ in range(10): os.wait()"
    )
    assert cellblock.execute("python", code)["reason"] == "memory_limit"


def test_a_request_may_lower_its_memory(cellblock: Server) -> None:
    answer = cellblock.execute("python", HOG, memory_limit_mb=32)
    assert answer["error"] == "Memory limit of 32 MB exceeded"


@pytest.mark.threat("U6")
@pytest.mark.vm
@pytest.mark.parametrize("memory_mb", [1, 2])
def test_a_limit_below_what_any_program_needs_is_a_memory_limit(cellblock: Server, memory_mb: int) -> None:
    """Python 3.13 prints within 3.0 MB where v2 counts: with that limit it would end the one way or the other."""
    answer = cellblock.execute("python", "print(1)", memory_limit_mb=memory_mb)
    assert (answer["reason"], answer["error"]) == ("memory_limit", f"Memory limit of {memory_mb} MB exceeded")


@pytest.mark.threat("M5")
@pytest.mark.vm
def test_tmpfs_is_charged_to_the_program(cellblock: Server) -> None:
    code = (
        "for name in ('/work/a', '/tmp/b', '/dev/shm/c'):\n"
        "    with open(name, 'wb') as file:\n        for _ in range(60): file.write(bytes(1 << 20))\n"
        "print('wrote 180 MB')"
    )
    assert cellblock.execute("python", code)["reason"] == "memory_limit"


@pytest.mark.threat("M7")
def test_reserving_much_memory_is_not_using_it(cellblock: Server) -> None:
    """A hundred terabytes, one after the other, because no gap of the address space is as large: V8 and Go reserve much."""
    code = "import mmap\nheld = [mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | 0x4000, 0) for _ in range(100)]\nprint(len(held))"
    assert cellblock.execute("python", code)["output"] == "100\n"


@pytest.mark.threat("O1")
@pytest.mark.vm
def test_output_is_cut_at_exactly_its_limit(cellblock: Server) -> None:
    answer = cellblock.execute("python", "while True: print('x' * 99)")
    assert (answer["reason"], answer["error"]) == ("output_limit", "Output limit of 1 MB exceeded")
    assert len(answer["stdout"]) + len(answer["stderr"]) == 1 << 20
    assert answer["truncated"] is True


@pytest.mark.threat("O1")
@pytest.mark.parametrize(("extra", "reason"), [(0, "exited"), (1, "output_limit")])
def test_the_last_allowed_byte_is_fine_and_the_next_is_not(cellblock: Server, extra: int, reason: str) -> None:
    code = f"import sys\nsys.stdout.write('o' * {1 << 19})\nsys.stdout.flush()\nsys.stderr.write('e' * {(1 << 19) + extra})"
    assert cellblock.execute("python", code)["reason"] == reason


@pytest.mark.threat("T4")
@pytest.mark.vm
def test_a_fork_bomb_stops_at_the_process_limit(cellblock: Server) -> None:
    code = "import os, signal\nmade = 0\nwhile True:\n    try: pid = os.fork()\n    except OSError: break\n    if pid == 0: signal.pause()\n    made += 1\nprint(made)"
    assert cellblock.execute("python", code)["output"] == "63\n"  # with main itself: 64


@pytest.mark.threat("T4")
@pytest.mark.vm
def test_a_fork_bomb_that_never_gives_up_is_a_time_limit(cellblock: Server) -> None:
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    answer, took_s = cellblock.execute_timed("python", code, timeout=1)
    assert answer["reason"] == "time_limit"
    assert 1 <= took_s < 1 + SLACK_S


@pytest.mark.threat("F4")
def test_a_sparse_terabyte_is_refused(cellblock: Server) -> None:
    code = "try:\n    open('/tmp/big', 'wb').truncate(1 << 40)\nexcept OSError as error:\n    print(error.errno)"
    assert cellblock.execute("python", code)["output"] == "27\n"  # EFBIG


@pytest.mark.threat("F4")
def test_a_million_empty_files_end_at_the_inode_limit(cellblock: Server) -> None:
    code = "try:\n    for n in range(10**6): open(f'/tmp/{n}', 'w').close()\nexcept OSError as error:\n    print(error.errno, n < 10**4)"
    assert cellblock.execute("python", code)["output"] == "28 True\n"  # ENOSPC


@pytest.mark.threat("F4")
def test_directories_a_thousand_deep_are_gone_with_the_jail(cellblock: Server) -> None:
    code = "import os\nfor _ in range(1000):\n    os.mkdir('d')\n    os.chdir('d')\nopen('file', 'w').close()\nprint('deep')"
    assert cellblock.execute("python", code)["output"] == "deep\n"


@pytest.mark.threat("C1")
def test_a_compilation_without_end_meets_its_own_limit_of_cpu_time(tmp_path: pathlib.Path) -> None:
    toolchain = (SHIPPED / "rust.toml").read_text()
    assert "cpu_s = 15.0" in toolchain
    (tmp_path / "rust.toml").write_text(toolchain.replace("cpu_s = 15.0", "cpu_s = 1.5"))
    code = """
#![allow(long_running_const_eval)]
const ENDLESS: u64 = { let mut n = 0u64; loop { n = n.wrapping_add(1); if n == u64::MAX { break n } } };
fn main() { println!("{}", ENDLESS) }
"""
    with Server(toolchain_folders=[str(readable(tmp_path))]) as server:
        answer, took_s = server.execute_timed("rust", code)
        assert (answer["reason"], answer["error"]) == (
            "compile_error",
            "Compilation used more than 1.5 seconds of CPU time",
        )
        assert 1.4 <= answer["compile_time"] < took_s < 10
        assert server.execute("rust", "fn main() {}")["success"] is True


@pytest.mark.threat("U6")
@pytest.mark.parametrize("memory_mb", [1, 4, 8])
def test_memory_that_a_runtime_cannot_even_start_with_is_a_memory_limit(cellblock: Server, memory_mb: int) -> None:
    """Its own limit, not our failure: of a run and of a test that is graded."""
    cellblock.execute("typescript", "console.log(1)")
    answer = cellblock.execute("typescript", "console.log(1)", memory_limit_mb=memory_mb)
    assert answer["reason"] == "memory_limit", answer
    asked = {"language": "typescript", "code": "console.log(1)", "tests": [{"expected": "1"}]}
    graded = cellblock.request(
        "POST", "/grade", json.dumps({**asked, "limits": {"memory_mb": memory_mb}}).encode(),
        {"Content-Type": "application/json"},
    ).json  # fmt: skip
    assert (graded["verdict"], graded["tests"][0]["reason"]) == ("MLE", "memory"), graded
    assert cellblock.is_healthy()
