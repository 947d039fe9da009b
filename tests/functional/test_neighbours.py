"""What one run, or one thing that goes wrong, must never do to the others: each of these did once."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import threading
import time

import psutil
import pytest

from tests import posture
from tests.server import START_S, Answer, Server, until

ANSWERED_S = 2.0
REFILLED_S = 10.0
WALL_S, ATTACK_S = 0.1, 8.0


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers of this file are their own."""


def hello(server: Server) -> Answer:
    return server.post({"language": "python", "code": "print('hello')"})


@pytest.mark.threat("U1")
@pytest.mark.slow
def test_a_program_that_ends_at_its_wall_limit_takes_nobody_with_it() -> None:
    """Hundreds of runs end within a millisecond of their limit: all honest runs beside them succeed, no warden dies."""
    stop = threading.Event()
    with Server(languages=["python"], runs_at_once=8, cpu_share_ms=0) as server:
        wardens = [warden.pid for warden in server.wardens()]

        def end_late(number: int) -> None:
            step = number
            while not stop.is_set():
                step += 1
                wait_s = WALL_S - 0.0002 * (step % 12) - 0.0004
                code = f"import os, time\ntime.sleep({wait_s})\nos._exit(0)"
                server.post({"language": "python", "code": code, "timeout": WALL_S})

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            attackers = [pool.submit(end_late, 2 * number) for number in range(6)]
            try:
                until_s = time.monotonic() + ATTACK_S
                honest = []
                while time.monotonic() < until_s:
                    honest.append(hello(server))
            finally:
                stop.set()
            for attacker in attackers:
                attacker.result()
        assert {answer.status for answer in honest} == {200}
        assert [warden.pid for warden in server.wardens()] == wardens


@pytest.mark.parametrize("helper", ["zygote", "maker"])
def test_the_death_of_a_wardens_helper_is_noticed_at_once(helper: str) -> None:
    """Each of the next requests is answered within two seconds, and then the pool is full again."""
    with Server(languages=["python"]) as server:
        until(lambda: posture.is_at_rest(server), START_S, "the pool is full")
        zygote, maker = server.helpers("python")
        {"zygote": zygote, "maker": maker}[helper].send_signal(signal.SIGKILL)
        for _ in range(12):
            _, took_s = timed_hello(server)
            assert took_s < ANSWERED_S
        until(lambda: posture.is_at_rest(server), ANSWERED_S, "the pool is full again")
        assert hello(server).status == 200


def timed_hello(server: Server) -> tuple[Answer, float]:
    started_s = time.monotonic()
    answer = hello(server)
    return answer, time.monotonic() - started_s


@pytest.mark.threat("D6")
@pytest.mark.slow
def test_a_fork_that_fails_leaves_neither_process_nor_namespace() -> None:
    """The warden may make a few processes more, but not all that a jail needs."""
    with Server(languages=["python"], pools=False) as server:
        assert hello(server).status == 200
        until(lambda: posture.is_at_rest(server), START_S, "at rest")
        nsjail = server.nsjail("python")
        (group,) = (found for top in server.groups() for found in top.glob("warden-*") if (found / "pids.max").exists())
        before = in_the_wall(nsjail)
        for room in (0, 1, 2, 3) * 3:
            alive = int((group / "pids.current").read_text())
            (group / "pids.max").write_text(str(alive + room))
            assert hello(server).status in (200, 503)
        (group / "pids.max").write_text("max")
        until(lambda: in_the_wall(nsjail) == before, ANSWERED_S, "no process and no namespace more than before")
        assert hello(server).status == 200


def in_the_wall(nsjail: psutil.Process) -> tuple[int, int]:
    """How many processes a warden's wall holds, and how many network namespaces those are in."""
    namespaces = set()
    processes = nsjail.children(recursive=True)
    for process in processes:
        with contextlib.suppress(OSError):
            namespaces.add(os.readlink(f"/proc/{process.pid}/ns/net"))
    return len(processes), len(namespaces)


@pytest.mark.threat("F5")
@pytest.mark.parametrize("reuse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_no_two_live_jails_are_in_one_network(reuse: bool) -> None:
    """Parked ones and those that run, after as many others that some of theirs have been lent before."""
    with Server(languages=["python"], network_reuse=reuse, runs_at_once=4) as server:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for answer in pool.map(lambda _: hello(server), range(40)):
                assert answer.status == 200
        until(lambda: posture.is_at_rest(server), START_S, "the pool is full")
        networks = networks_of_jails(server.nsjail("python"))
        assert len(networks) >= 2
        assert len(set(networks.values())) == len(networks)
        assert os.readlink("/proc/self/ns/net") not in networks.values()


def networks_of_jails(nsjail: psutil.Process) -> dict[str, str]:
    """The network namespace of each pid namespace within a warden's wall but the warden's own."""
    (warden,) = nsjail.children()
    found = {}
    for process in warden.children(recursive=True):
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/{process.pid}/ns/pid")] = os.readlink(f"/proc/{process.pid}/ns/net")
    found.pop(os.readlink(f"/proc/{warden.pid}/ns/pid"), None)
    return found


def test_a_pool_is_full_again_soon_after_jails_could_not_be_made() -> None:
    """Nobody has to ask for a run: /health says that the pool is full within ten seconds."""
    with Server(languages=["python"]) as server, contextlib.ExitStack() as stack:
        until(lambda: posture.is_at_rest(server), START_S, "the pool is full")
        stack.enter_context(posture.no_group_can_be_made(server))
        for _ in range(4):
            assert hello(server).status in (200, 503)
        stack.close()
        until(lambda: posture.is_at_rest(server), REFILLED_S, "the pool is full again")


@pytest.mark.threat("D6")
@pytest.mark.slow
def test_a_keeper_without_descriptors_refuses_and_goes_on() -> None:
    """However few it may open: each request is answered, and once it may open more again all is as before."""
    with Server(languages=["python", "rust"]) as server:
        until(lambda: posture.is_at_rest(server), START_S, "the pools are full")
        keeper = server.keeper
        limits = keeper.rlimit(psutil.RLIMIT_NOFILE)
        for room in range(16):
            keeper.rlimit(psutil.RLIMIT_NOFILE, (keeper.num_fds() + room, limits[1]))
            for language, code in (("python", "print(1)"), ("rust", f'fn main() {{ println!("{room}"); }}')):
                answer = server.post({"language": language, "code": code})
                assert answer.status in (200, 503), answer.text
            assert keeper.is_running() and keeper.status() != psutil.STATUS_ZOMBIE
        keeper.rlimit(psutil.RLIMIT_NOFILE, limits)
        until(lambda: posture.is_at_rest(server), START_S, "the pools are full again")
        assert server.keeper.pid == keeper.pid
        assert hello(server).status == 200


@pytest.mark.slow
def test_a_group_that_cannot_be_removed_is_told_once_and_tried_ever_more_slowly() -> None:
    """Somebody made a group of his own in it. It goes as soon as that has gone, give or take the last pause.

    A group whose memory limit was met is removed, and not kept for another jail.
    """
    with Server(languages=["python"], pools=False) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        code = "import time; time.sleep(1); bytearray(1 << 30)"
        run = pool.submit(server.execute, "python", code)
        until(lambda: len(posture.jail_groups(server)) >= len(server.groups()), START_S, "its group is there")
        group = pathlib.Path(posture.jail_groups(server)[0])
        held = group / "held"
        held.mkdir()
        try:
            assert run.result()["reason"] == "memory_limit"
            wakes = [server.keeper.num_ctx_switches().voluntary]

            def has_waited() -> bool:
                """Three of the keeper's statistics, of one a second, have come."""
                wakes.append(server.keeper.num_ctx_switches().voluntary)
                return time.monotonic() - since_s > 3

            since_s = time.monotonic()
            until(has_waited, START_S)
            assert wakes[-1] - wakes[0] < 150, "wakes of the keeper in three seconds"
            told = [line for line in server.error_text().splitlines() if group.name in line]
            assert len(told) == 1, told
        finally:
            held.rmdir()
        until(lambda: not group.exists(), REFILLED_S, "it is removed")


@pytest.mark.threat("D4")
def test_no_helper_of_the_http_process_holds_its_listening_socket() -> None:
    """uvloop leaves a new process whatever may be inherited: whoever owned the lexer could have answered clients."""
    with Server(languages=["python"]) as server:
        posture.warm_up(server)
        listening = {
            os.readlink(f"/proc/{server.http.pid}/fd/{one.fd}")
            for one in server.http.net_connections("all")
            if one.status == psutil.CONN_LISTEN
        }
        helpers = server.http.children()
        assert listening and len(helpers) == 2, "the lexer, and what parses large bodies"
        for helper in helpers:
            held = {os.readlink(path) for path in pathlib.Path(f"/proc/{helper.pid}/fd").iterdir()}
            assert not held & listening
