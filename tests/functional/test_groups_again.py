"""A control group serves one jail after the other, and no run tells it from a new one."""

import contextlib
import json
import pathlib
from collections.abc import Iterator

import pytest

from tests import posture
from tests.server import START_S, Server, until

HELLO = "print('hello')"
WHERE = "import os; print(len(os.sched_getaffinity(0)))"
BUSY = "import time\nwhile time.process_time() < {}: pass\nprint('done')"
NAMES = """
import os
for number in range(60000):
    try:
        os.stat("/usr/lib/{}-" + str(number) + "x" * 200)
    except OSError:
        pass
import time
print(1, flush=True)
time.sleep(60)
"""
MB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Without pools a run takes the group that the last one has left."""
    with Server(languages=["python"], pools=False) as one:
        one.execute("python", HELLO)
        if not kept(one):
            pytest.skip("this kernel does not forget the most memory that a group has used (Linux before 6.12, on v2)")
        yield one


def kept(server: Server) -> dict[str, pathlib.Path]:
    """By name, once all are empty; of v1 those of the hierarchy that counts memory."""
    until(lambda: not posture.jail_groups(server), START_S, "every run has left its group")
    groups = map(pathlib.Path, posture.kept_groups(server))
    return {group.name: group for group in groups if list(group.glob("memory.stat"))}


def keyed(group: pathlib.Path, *files: str) -> dict[str, int]:
    """What flat keyed files say, of those that there are."""
    texts = [(group / name).read_text() for name in files if (group / name).exists()]
    return {key: int(value) for text in texts for key, value in map(str.split, text.splitlines())}


@pytest.mark.vm
def test_runs_one_after_the_other_need_no_more_groups_than_one_needs(server: Server) -> None:
    before = kept(server)
    for _ in range(20):
        assert server.execute("python", HELLO)["output"] == "hello\n"
    assert len(set(kept(server)) - set(before)) <= 1  # one has not left its group for good when the next one starts


@pytest.mark.vm
def test_the_most_memory_that_a_run_used_is_not_the_next_ones(server: Server) -> None:
    for _ in range(3):
        large = server.execute("python", f"print(len(bytearray(b'x') * {60 * MB}))")
        small = server.execute("python", HELLO)
        assert large["memory_bytes"] > 60 * MB
        assert small["memory_bytes"] < 30 * MB


@pytest.mark.vm
@pytest.mark.threat("M1")
def test_a_group_whose_memory_limit_was_met_is_nobodys_again(server: Server) -> None:
    for _ in range(3):
        assert server.execute("python", f"bytearray(b'x') * {500 * MB}")["reason"] == "memory_limit"
    groups = kept(server).values()
    assert {keyed(group, "memory.oom_control", "memory.events.local")["oom_kill"] for group in groups} <= {0}
    ended = server.execute("python", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (ended["reason"], ended["signal"]) == ("signal", "SIGKILL")


@pytest.mark.threat("M9")
def test_names_that_a_run_looked_up_are_taken_back_each_time(server: Server) -> None:
    """They stay on its group's account, so that no other run may have it (daemon/host/cgroup/reclaim.py)."""
    for tag in range(3):
        with server.running("python", NAMES.format(tag), timeout=60):
            (used,) = {pathlib.Path(group).name for group in posture.jail_groups(server)}
        until(lambda used=used: used not in kept(server), START_S, "its group is removed")


def test_a_limit_below_what_an_interpreter_uses_spoils_nothing_for_the_next_run(server: Server) -> None:
    before = server.error_text().count("a callback failed")
    for _ in range(3):
        assert server.execute("python", HELLO, memory_limit_mb=2)["reason"] == "memory_limit"
        assert server.execute("python", HELLO, memory_limit_mb=200)["output"] == "hello\n"
    assert server.error_text().count("a callback failed") == before


@pytest.mark.vm
def test_a_run_is_not_throttled_for_what_the_last_one_used(server: Server) -> None:
    """Half a second of CPU in each second: runs of 0.4 s one after the other share a second."""
    for _ in range(4):
        assert server.execute("python", BUSY.format(0.4))["output"] == "done\n"
    kept(server)
    throttled = [keyed(pathlib.Path(group), "cpu.stat").get("nr_throttled", 0) for group in posture.kept_groups(server)]
    assert set(throttled) == {0}


@pytest.mark.vm
def test_a_run_has_all_cores_and_the_usual_share_after_a_graded_one(server: Server) -> None:
    cores = server.execute("python", WHERE)["output"]
    body = {"language": "python", "code": "print(1)", "tests": [{"input": "", "expected": "1\n"}] * 3}
    headers = {"Content-Type": "application/json"}
    grading = server.request("POST", "/grade", json.dumps(body).encode(), headers)
    assert grading.json["verdict"] == "AC", grading.text
    assert server.execute("python", WHERE)["output"] == cores
    with server.running("python", "import time; print(1, flush=True); time.sleep(60)"):
        files = [
            pathlib.Path(group, name) for group in posture.jail_groups(server) for name in ("cpu.shares", "cpu.weight")
        ]
        shares = {file.read_text() for file in files if file.exists()}
        assert shares in ({"1024\n"}, {"100\n"})


@pytest.mark.vm
@pytest.mark.threat("D6")
def test_a_kept_group_that_somebody_removes_is_replaced(server: Server) -> None:
    for hierarchies in (1, len(server.groups())):
        gone = kept(server)
        for top in server.groups()[:hierarchies]:
            for name in gone:
                with contextlib.suppress(FileNotFoundError):  # the keeper was about to
                    (top / name).rmdir()
        until(lambda: server.post({"language": "python", "code": HELLO}).status == 200, START_S)
        assert not set(kept(server)) & set(gone)
