"""/health is 200 only when a real program of every language ran lately, and says what is wrong if not."""

import pathlib
import shutil

import pytest

from tests import posture
from tests.server import START_S, Server, readable, until

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers of this file run self-tests all the time."""


def health(server: Server) -> dict[str, object]:
    found: dict[str, object] = server.request("GET", "/health").json
    return found


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


def test_self_tests_go_on_in_the_background() -> None:
    """A keeper that stands still lets the proofs grow old, with nobody asking for a run; once it goes on they are new."""
    with Server(languages=["python"], self_test_s=0.3) as server:
        server.keeper.suspend()
        until(lambda: server.request("GET", "/health").status == 503, START_S, "stale")
        server.keeper.resume()
        until(lambda: server.request("GET", "/health").status == 200, START_S, "proven again")


def test_health_starts_nothing(tmp_path: pathlib.Path) -> None:
    shutil.copy(SHIPPED / "python.toml", readable(tmp_path))
    shutil.copytree(SHIPPED / "python", tmp_path / "python")
    with Server(toolchain_folders=[str(tmp_path)]) as server:
        before = health(server)["sandbox"]
        for _ in range(50):
            server.request("GET", "/health")
        assert health(server)["sandbox"] == before


def test_it_tells_the_memory_of_everything(cellblock: Server) -> None:
    """Idle, with default pools: at most 400 MB."""
    until(lambda: posture.is_at_rest(cellblock), START_S, "at rest")
    found = cellblock.request("GET", "/health").json["memory_bytes"]
    assert set(found) == {"jails", "keeper", "http"}
    assert all(size > 10 << 20 for size in found.values()), found
    assert sum(found.values()) < 400 << 20, found


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


def test_large_inputs_do_not_stay_in_memory() -> None:
    with Server(languages=["python"]) as server:
        before = health(server)["memory_bytes"]["http"]  # type: ignore[index]
        for _ in range(6):
            server.execute("python", "import sys; print(len(sys.stdin.read()))", stdin="x" * 10_000_000)
        assert health(server)["memory_bytes"]["http"] - before < 8 << 20  # type: ignore[index]
