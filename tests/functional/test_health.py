"""/health is 200 only when a real program of every language ran lately, and says what is wrong if not."""

import pathlib
import shutil

import pytest

from daemon.api.readiness import KEEPER_SILENT_S, Readiness
from daemon.judge.artifacts import Artifacts
from daemon.judge.executor import Executor
from daemon.judge.self_tests import SelfTests
from daemon.judge.versions import Versions
from daemon.sandbox.client import Client
from daemon.sandbox.model import Limits
from daemon.toolchain import registry
from daemon.toolchain.plan import RunLimits
from tests import posture
from tests.server import START_S, Server, readable, until

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers of this file run self-tests all the time."""


def health(server: Server) -> dict[str, object]:
    found: dict[str, object] = server.request("GET", "/health").json
    return found


@pytest.mark.slow
def test_a_self_test_that_prints_something_else_is_ill_health(tmp_path: pathlib.Path) -> None:
    readable(tmp_path)
    text = (SHIPPED / "python.toml").read_text()
    shutil.copytree(SHIPPED / "python", tmp_path / "python")
    (tmp_path / "python.toml").write_text(text.replace('"sum": 45', '"sum": 46'))
    with Server(healthy=False, toolchain_folders=[str(tmp_path)]) as server:
        until(lambda: "printed" in str(health(server)["problems"]), START_S)
        answer = server.request("GET", "/health")
        assert (answer.status, answer.json["status"]) == (503, "unhealthy")
        assert "instead of" in answer.json["problems"]["python"]
        assert server.execute("python", "print('still answers')")["success"] is True


@pytest.mark.slow
def test_self_tests_go_on_in_the_background_and_a_process_may_be_alive_and_not_ready() -> None:
    """A keeper that stands still lets the proofs grow old, with nobody asking for a run; once it goes on they are new."""
    with Server(languages=["python"], self_test_s=0.3) as server:
        assert server.request("GET", "/health/ready").json == {"status": "ready"}
        server.keeper.suspend()
        until(lambda: server.request("GET", "/health").status == 503, START_S, "stale")
        answer = server.request("GET", "/health/ready")
        assert (answer.status, answer.json["code"]) == (503, "not_ready")
        assert answer.headers["Content-Type"].startswith("application/problem+json") and answer.headers["Retry-After"]
        assert "python" in answer.json["detail"]
        alive = server.request("GET", "/health/live")
        assert (alive.status, alive.json) == (200, {"status": "live"})
        server.keeper.resume()
        until(lambda: server.request("GET", "/health").status == 200, START_S, "proven again")
        assert server.request("GET", "/health/ready").status == 200


@pytest.mark.slow
def test_a_keeper_that_stands_still_is_not_ready_within_seconds_though_no_proof_is_old(cellblock: Server) -> None:
    """Long before the supervisor ends it (`silence_s`), and ready again as soon as it goes on."""
    until(lambda: cellblock.request("GET", "/health/ready").status == 200, START_S, "ready")
    cellblock.keeper.suspend()
    try:
        until(lambda: cellblock.request("GET", "/health/ready").status == 503, KEEPER_SILENT_S + 2, "not ready")
        assert cellblock.request("GET", "/health/ready").json["detail"] == "Not ready: keeper"
        assert health(cellblock)["problems"] == {"keeper": "said nothing for 3 s"}
    finally:
        cellblock.keeper.resume()
    until(lambda: cellblock.request("GET", "/health/ready").status == 200, 2, "ready again")


def test_a_process_that_is_being_stopped_is_not_ready() -> None:
    run = RunLimits(Limits(1, 1, 1), Limits(1, 1, 1), Limits(1, 1, 1), 1, 1)
    client = Client("/nowhere", 1.0)
    readiness = Readiness(
        client, SelfTests(Executor(client, {}, Artifacts(0, 0, None), Versions({})), registry.Registry([]), run, 1.0)
    )
    assert set(readiness.problems()) == {"keeper"}
    readiness.drain()
    assert set(readiness.problems()) == {"keeper", "server"}


@pytest.mark.slow
def test_health_starts_nothing(tmp_path: pathlib.Path) -> None:
    shutil.copy(SHIPPED / "python.toml", readable(tmp_path))
    shutil.copytree(SHIPPED / "python", tmp_path / "python")
    with Server(toolchain_folders=[str(tmp_path)]) as server:
        until(lambda: posture.is_at_rest(server), START_S, "at rest")
        before = health(server)["sandbox"]
        for _ in range(50):
            server.request("GET", "/health")
        now = health(server)["sandbox"]
        counts = ("jails", "parked", "wardens", "services")
        assert [now[name] for name in counts] == [before[name] for name in counts]


def test_it_tells_the_memory_of_everything(cellblock: Server) -> None:
    """Idle, with default pools: at most 400 MB."""
    until(lambda: posture.is_at_rest(cellblock), START_S, "at rest")
    found = cellblock.request("GET", "/health").json["memory_bytes"]
    assert set(found) == {"jails", "keeper", "http"}
    assert all(size > 10 << 20 for size in found.values()), found
    assert sum(found.values()) < 400 << 20, found


@pytest.mark.slow
def test_where_parked_jails_have_no_room_fewer_are_kept_and_the_log_says_so_once() -> None:
    """Runs go on, each with a jail that is parked or made for it."""
    with Server(languages=["python"], parked_mb_max=2) as server:

        def pool() -> dict[str, int]:
            found: dict[str, int] = server.request("GET", "/health").json["sandbox"]["parked"]["python/run"]
            return found

        for number in range(12):
            until(lambda: pool()["parked"] > 0 and pool()["starting"] == 0, START_S, "as many as have room")
            assert pool()["parked"] < pool()["wanted"], pool()
            assert server.execute("python", f"print({number})")["output"] == f"{number}\n"
    assert server.log.count("as many as parked_mb_max allows: python/run") == 1, server.log


@pytest.mark.slow
def test_large_inputs_do_not_stay_in_memory() -> None:
    with Server(languages=["python"]) as server:
        before = health(server)["memory_bytes"]["http"]  # type: ignore[index]
        for _ in range(6):
            server.execute("python", "import sys; print(len(sys.stdin.read()))", stdin="x" * 10_000_000)
        assert health(server)["memory_bytes"]["http"] - before < 8 << 20  # type: ignore[index]
