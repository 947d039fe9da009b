"""Programs that take all the processes, processor time and priority that they can get, and stop whom they can."""

import concurrent.futures
import json
from typing import Any

import pytest

from tests import posture
from tests.server import SLACK_S, Server

LIMIT_S = 0.6
BOMBS = {
    "threads": """
import threading, time
while True:
    try: threading.Thread(target=time.sleep, args=(60,)).start()
    except RuntimeError: pass
""",
    "vforks": """
import os
while True:  # posix_spawn(3) is vfork(2) with memory of its own
    try: os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 60 & sleep 60 & wait"], {})
    except OSError: pass
""",
    "processes that replace themselves": """
import os, time
open("/work/next", "w").write("#!/bin/sh\\n/work/next &\\n")
os.chmod("/work/next", 0o755)
os.posix_spawn("/work/next", ["next"], {})
time.sleep(60)
""",
}


@pytest.mark.threat("T4")
def test_bombs_of_every_kind_end_at_their_limit_and_a_neighbour_runs_meanwhile(cellblock: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(len(BOMBS)) as pool:
        bombs = [pool.submit(cellblock.execute_timed, "python", code, timeout=LIMIT_S) for code in BOMBS.values()]
        seen = []
        while not all(bomb.done() for bomb in bombs):
            seen.append(cellblock.execute("python", "print(6 * 7)")["output"])
    assert set(seen) == {"42\n"} and len(seen) > 3
    for name, bomb in zip(BOMBS, bombs, strict=True):
        answer, took_s = bomb.result()
        assert answer["reason"] == "time_limit", (name, answer)
        assert took_s < LIMIT_S + 3 * SLACK_S, name  # three end at once, and the neighbour's requests wait with them


WORKERS = {
    "four threads": """
import hashlib, threading
for _ in range(4): threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"x", b"y", 10**9)).start()
""",
    "an orphan": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: pass
    os._exit(0)
os.wait()
time.sleep(60)
""",
}


@pytest.mark.threat("T2")
def test_processor_time_of_threads_and_orphans_counts(cellblock: Server) -> None:
    def run(code: str) -> dict[str, Any]:
        return cellblock.execute("python", code, cpu_time_limit=0.2, timeout=20)

    with concurrent.futures.ThreadPoolExecutor(len(WORKERS)) as pool:
        for name, answer in zip(WORKERS, pool.map(run, WORKERS.values()), strict=True):
            assert answer["reason"] == "cpu_limit", (name, answer)
            assert 0.2 <= answer["cpu_time"] < 0.2 + SLACK_S, name


@pytest.mark.threat("T2")
def test_an_orphan_is_dead_when_the_answer_comes(cellblock: Server) -> None:
    """It has left session, group and parent, and works on; its name is how the host tells it."""
    code = """
import ctypes, os
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, b"an-orphan")
        os.write(writer, b"x")
        while True: pass
    os._exit(0)
os.read(reader, 1)
print(open(f"/proc/{max(int(name) for name in os.listdir('/proc') if name.isdigit())}/comm").read(), end="")
"""
    assert cellblock.execute("python", code)["output"] == "an-orphan\n"
    assert not [line for line in posture.jail_processes(cellblock) if line.endswith("an-orphan")]


STOPPERS = {
    "python": "import os, signal\nfor pid in (1, -1):\n    try: os.kill(pid, signal.SIGSTOP)\n    except OSError: pass\nprint('on')",
    "typescript": "for (const pid of [1, -1]) try { process.kill(pid, 'SIGSTOP'); } catch {}\nconsole.log('on');",
}


@pytest.mark.threat("T3")
def test_whoever_stops_init_and_everybody_else_goes_on_alone(cellblock: Server) -> None:
    """Where it can: a forked program has another uid than its init, and no signal without a handler reaches the init of
    a pid namespace from within (pid_namespaces(7))."""
    for language, code in STOPPERS.items():
        answer = cellblock.execute(language, code, timeout=5)
        assert (answer["reason"], answer["output"]) == ("exited", "on\n"), answer


@pytest.mark.threat("T5")
def test_a_program_can_lower_its_own_share_and_change_no_others(cellblock: Server) -> None:
    code = """
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(64)
def ask(number, *arguments):
    ctypes.set_errno(0)
    found = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(value % 2**64) for value in arguments))
    return errno.errorcode[ctypes.get_errno()] if found == -1 else found
def attempt(act, *arguments):
    try: act(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(json.dumps({
    "nice -1": attempt(os.nice, -1), "nice -5 of its user": attempt(os.setpriority, os.PRIO_USER, 0, -5),
    "nice of init": attempt(os.setpriority, os.PRIO_PROCESS, 1, 19), "cores of init": attempt(os.sched_setaffinity, 1, {0}),
    "SCHED_FIFO": ask(144, 0, 1, ctypes.addressof(room)), "SCHED_DEADLINE": ask(314, 0, ctypes.addressof(room), 0),
    "priority on disks": ask(251, 1, 0, 1 << 13), "nice 19": attempt(os.setpriority, os.PRIO_USER, 0, 19),
}))
"""
    assert json.loads(cellblock.execute("python", code)["output"]) == {
        "nice -1": "EPERM", "nice -5 of its user": "EACCES", "nice of init": "EPERM", "cores of init": "EPERM",
        "SCHED_FIFO": "ENOSYS", "SCHED_DEADLINE": "ENOSYS", "priority on disks": "ENOSYS", "nice 19": "done",
    }  # fmt: skip
