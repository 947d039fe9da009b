"""Where a promise cannot be held, a run is refused with 503 and a reason; it never runs without its limits."""

import pathlib
import shutil
import subprocess

import pytest

from tests import posture
from tests.server import COMMAND, START_S, Server, until

CONFIGS = pathlib.Path(__file__).parents[2] / "jail_configs"


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """These servers cannot run a canary."""


def refuses(server: Server) -> None:
    answer = server.post({"language": "python", "code": "print('must not run')"})
    assert (answer.status, answer.json["code"]) == (503, "sandbox_unavailable"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    health = server.request("GET", "/health")
    assert health.status == 503
    assert health.json["problems"]["python"]


@pytest.mark.slow
@pytest.mark.threat("D6")
@pytest.mark.vm
def test_without_nsjail_nothing_runs() -> None:
    with Server(healthy=False, nsjail="/nonexistent/nsjail", languages=["python"]) as server:
        refuses(server)
        assert "cannot start nsjail" in server.error_text()


@pytest.mark.threat("D6")
def test_without_a_seccomp_policy_nothing_runs(tmp_path: pathlib.Path) -> None:
    shutil.copytree(CONFIGS, tmp_path / "configs")
    policy = tmp_path / "configs" / "inner.toml"
    policy.write_text(policy.read_text().replace('"memfd_create"', '"memfd_creat"'))
    with Server(healthy=False, configs=tmp_path / "configs", languages=["python"]) as server:
        refuses(server)
        assert "memfd_creat" in server.error_text()


@pytest.mark.threat("D6")
@pytest.mark.vm
def test_a_jail_whose_group_cannot_be_made_is_refused_and_the_next_one_is_not() -> None:
    """The names of the next jails' groups are taken by somebody else."""
    with Server(languages=["python"], pools=False) as server:
        with posture.no_group_can_be_made(server):
            answer = server.post({"language": "python", "code": "print('must not run')"})
            assert (answer.status, answer.json["code"]) == (503, "sandbox_unavailable")
        assert "/jails-" in server.error_text()
        until(lambda: server.execute("python", "print(1)")["output"] == "1\n", START_S)


@pytest.mark.threat("D6")
def test_a_thread_that_the_host_refuses_is_no_programs_failure() -> None:
    """The group above has as many processes as it may: the run is repeated, or refused; never told as the program's end."""
    code = "import threading; one = threading.Thread(target=lambda: print('ran')); one.start(); one.join()"
    with Server(languages=["python"]) as server:
        (limit,) = [group / "pids.max" for group in server.groups() if (group / "pids.max").exists()]
        limit.write_text(limit.with_name("pids.current").read_text())
        answer = server.post({"language": "python", "code": code})
        assert answer.status == 503 or answer.json["output"] == "ran\n", answer.text
        limit.write_text("max")
        until(lambda: server.post({"language": "python", "code": code}).status == 200, START_S)
        assert server.execute("python", code)["output"] == "ran\n"


@pytest.mark.threat("D6")
def test_a_toolchain_that_is_not_installed_stops_the_start_with_its_name() -> None:
    server = Server(prefix="/nonexistent")
    done = subprocess.run(
        [COMMAND, "serve", "--port", "0"], env=server.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    assert "/nonexistent/toolchains/python/usr does not exist; run ./bootstrap" in done.stderr


def test_a_user_that_does_not_exist_stops_the_start() -> None:
    server = Server(user="nobody-of-this-name")
    done = subprocess.run(
        [COMMAND, "serve", "--port", "0"], env=server.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    assert "nobody-of-this-name" in done.stderr
    assert not server.run_directory().exists()


def test_a_port_that_is_taken_is_told(cellblock: Server) -> None:
    server = Server()
    command = [COMMAND, "serve", "--port", str(cellblock.port)]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert f"cannot listen on 127.0.0.1:{cellblock.port}" in done.stderr
    assert not server.run_directory().exists()
