"""What each death leads to: real SIGKILLs in the middle of runs.

A death is survived when programs run again within two seconds, and every pool is full again soon after.
"""

import concurrent.futures
import itertools
import signal
import subprocess
import time

import psutil
import pytest

from tests import posture
from tests.chaos import victims
from tests.chaos.plan import Part
from tests.server import COMMAND, IS_EMULATED, START_S, Answer, Server, until

BACK_S = START_S if IS_EMULATED else 2.0  # until a program runs again
FULL_S = START_S if IS_EMULATED else 8.0  # until all is as before: a helper that says nothing is given up after 10
LANGUAGES = ["python"] if IS_EMULATED else ["python", "rust", "typescript"]  # emulated, Node starts for a minute


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers of this file die; their posture is demanded below."""


def post_slowly(server: Server) -> Answer | None:
    """None where the connection was closed without an answer."""
    try:
        return server.post({"language": "python", "code": "import time; time.sleep(1); print('slept')"})
    except OSError:
        return None


@pytest.mark.threat("P2")
@pytest.mark.slow
@pytest.mark.parametrize(
    "victim",
    [
        "keeper",  # in the VM tests/vm/test_units.py ends this and the HTTP process
        pytest.param("warden", marks=pytest.mark.vm),
        "zygote",
        "maker",
        pytest.param("nsjail", marks=pytest.mark.vm),
        "http",
    ],
)
def test_service_comes_back_after_a_death_under_load(victim: str) -> None:
    """Every request is answered or its connection closed, nothing goes on running, and all pools are full again."""
    with Server(languages=LANGUAGES, runs_at_once=16) as server, concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(post_slowly, server) for _ in range(8)]
        until(lambda: runs_in_flight(server) >= 1, START_S, "runs in flight")
        processes = {
            "keeper": lambda: server.keeper,
            "warden": lambda: server.warden("python"),
            "zygote": lambda: server.helpers("python")[0],
            "maker": lambda: server.helpers("python")[1],
            "nsjail": lambda: server.nsjail("python"),
            "http": lambda: server.http,
        }
        processes[victim]().send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        until(lambda: answers(server), BACK_S, "a program runs again")
        assert time.monotonic() - killed_at < BACK_S
        for future in futures:
            answer = future.result(timeout=60)
            assert answer is None or answer.status in (200, 503), answer.text
            assert answer is None or answer.status != 200 or answer.json["output"] == "slept\n", answer.text
        until(lambda: posture.is_at_rest(server), FULL_S, "every pool is full, no other group is left")
        assert len(server.nsjails()) == len(LANGUAGES)
    assert_nothing_left(server)


@pytest.mark.threat("P2")
def test_a_program_whose_init_is_killed_was_not_killed_by_itself() -> None:
    """The kernel ends it with SIGKILL; that is nothing that it did, so it runs again."""
    with Server(languages=["python"]) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(post_slowly, server)
        until(lambda: victims.of(server, Part.RUNNING_INIT), START_S, "it runs")
        for pid in victims.of(server, Part.RUNNING_INIT):
            psutil.Process(pid).kill()
        answer = future.result(timeout=60)
        assert answer is not None and answer.status == 200 and answer.json["output"] == "slept\n", (
            answer and answer.text
        )
        killed = server.execute("python", "import os; os.kill(os.getpid(), 9)")
        assert (killed["reason"], killed["signal"]) == ("signal", "SIGKILL")


def runs_in_flight(server: Server) -> int:
    """Jails that are given away."""
    sandbox = server.request("GET", "/health").json["sandbox"]
    return int(sandbox["jails"]) - sum(pool["parked"] for pool in sandbox["parked"].values()) - len(sandbox["services"])


def answers(server: Server) -> bool:
    try:
        answer = server.post({"language": "python", "code": "print('back')"})
    except OSError:
        return False
    return answer.status == 200 and answer.json["output"] == "back\n"


def test_all_nsjails_dying_at_once_do_not_take_the_keeper_with_them() -> None:
    with Server() as server:
        keeper = server.keeper.pid
        for nsjail in server.nsjails():
            nsjail.kill()
        until(lambda: answers(server), BACK_S, "a program runs again")
        until(lambda: posture.is_at_rest(server), FULL_S, "every pool is full again")
        assert server.keeper.pid == keeper
    assert_nothing_left(server)


@pytest.mark.slow
def test_a_warden_that_hangs_is_replaced_and_the_run_is_repeated() -> None:
    with Server(languages=["python"], start_s=2) as server:  # it is given up after so long
        hung = server.wardens()[0]
        hung.suspend()
        answer = server.post({"language": "python", "code": "print('repeated')"})
        assert (answer.status, answer.json.get("output")) == (200, "repeated\n"), answer.text
        until(lambda: not hung.is_running(), BACK_S, "the hung warden is gone")
        until(lambda: posture.is_at_rest(server), FULL_S, "every pool is full again")
    assert_nothing_left(server)


@pytest.mark.slow
def test_a_warden_that_does_not_answer_is_replaced_though_nobody_asks_for_a_run() -> None:
    """A parked jail dies, and the one in its place is not made: that is all that shows that it hangs."""
    with Server(languages=["rust"], start_s=2) as server:
        until(lambda: posture.is_at_rest(server), FULL_S, "every pool is full")
        (hung,) = server.wardens()
        hung.suspend()
        psutil.Process(victims.of(server, Part.PARKED_INIT)[0]).kill()
        until(lambda: not hung.is_running(), 2 + BACK_S, "the hung warden is gone")
        until(lambda: posture.is_at_rest(server), FULL_S, "every pool is full again")
    assert_nothing_left(server)


@pytest.mark.threat("P2")
@pytest.mark.slow
def test_processes_without_a_death_signal_die_with_nsjail() -> None:
    """A child has none (PR_SET_PDEATHSIG, prctl(2)); to set or clear it is not allowed to a program."""
    with Server(languages=["python"]) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        code = "import os, time\nfor _ in range(3):\n    os.fork()\n    os.setsid() if os.getpid() > 2 else 0\ntime.sleep(60)"
        pool.submit(lambda: server.post({"language": "python", "code": code, "timeout": 60}))
        until(lambda: runs_in_flight(server) == 1, START_S)
        before = set(posture.jail_processes(server))
        server.nsjails()[0].kill()
        until(lambda: not before & set(posture.jail_processes(server)), BACK_S)
        server.stop()
    assert_nothing_left(server)


@pytest.mark.slow
@pytest.mark.threat("D5")
@pytest.mark.vm
def test_the_next_keeper_sweeps_what_a_killed_supervisor_left() -> None:
    """SIGKILL to the supervisor takes keeper and HTTP process with it; a new start with that name finds its place."""
    server = Server(languages=["python"])
    server.__enter__()
    groups = server.groups()
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(children, timeout=BACK_S + 2)
    assert not alive
    again = Server(languages=["python"])
    again.environment["CELLBLOCK_INSTANCE"] = again.instance = server.instance
    with again:
        assert answers(again)
    assert not any(group.exists() for group in groups)
    assert_nothing_left(again)


def test_sigterm_ends_a_run_and_leaves_nothing() -> None:
    with Server(languages=["python"]) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(post_slowly, server)
        until(lambda: runs_in_flight(server) == 1, START_S)
        server.stop()
        assert server.process.returncode == 0
    assert_nothing_left(server)


@pytest.mark.slow
def test_two_instances_run_beside_each_other() -> None:
    """A second server, and `cellblock run`, sweep only their own."""
    with Server(languages=["python"]) as one, Server(languages=["python"]) as two:
        assert set(one.groups()).isdisjoint(two.groups())
        assert answers(one) and answers(two)
    assert_nothing_left(one)
    assert_nothing_left(two)


def test_a_second_server_of_the_same_name_is_refused() -> None:
    with Server(languages=["python"]) as server:
        done = subprocess.run(
            [COMMAND, "serve", "--port", "0"],
            env=server.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 125
        assert "is running" in done.stderr
        assert answers(server)


def assert_nothing_left(server: Server) -> None:
    assert not posture.jail_processes(server)
    assert not posture.instance_groups(server.instance)
    assert server.instance not in "".join(map(str, posture.run_directories()))


def lifetime(server: Server) -> str:
    """When a program began and ended, on the clock that all jails share."""
    code = "import time\nprint(time.monotonic())\ntime.sleep(1)\nprint(time.monotonic())"
    return str(server.execute("python", code)["output"])


@pytest.mark.slow
def test_several_http_processes_share_a_port_and_replace_each_other() -> None:
    """Nobody is refused while one is away; together they run no more at once than the setting says."""
    with Server(languages=["python"], http_processes=3, runs_at_once=6) as server:
        first = {process.pid for process in server.processes("http")}
        assert len(first) == 3
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            spans = [list(map(float, text.split())) for text in pool.map(lambda _: lifetime(server), range(12))]
        moments = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
        assert 2 < max(itertools.accumulate(step for _, step in moments)) <= 6
        psutil.Process(min(first)).kill()
        for number in range(20):
            assert server.execute("python", f"print({number})")["output"] == f"{number}\n"
        until(lambda: len(server.processes("http")) == 3, BACK_S, "a third one again")
        until(lambda: posture.is_at_rest(server), FULL_S, "every pool is full again")
        assert len({process.pid for process in server.processes("http")} & first) == 2
    assert_nothing_left(server)


def test_a_jail_that_nobody_waits_for_any_more_is_not_kept() -> None:
    """Its client went while the warden was slow: the pool has what it should have, and no more."""
    with Server(languages=["python"], parked_max=1) as server:
        (warden,) = server.wardens()
        warden.suspend()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for future in [pool.submit(give_up_waiting, server) for _ in range(3)]:
                future.result()
        warden.resume()
        until(lambda: posture.is_at_rest(server), BACK_S, "one parked jail and no other")
    assert_nothing_left(server)


def give_up_waiting(server: Server) -> None:
    with pytest.raises(TimeoutError):
        server.request(
            "POST", "/execute", b'{"language": "python", "code": "1"}', {"Content-Type": "application/json"}, 1.0
        )
