"""The two systemd units: the keeper gets its delegated group, the HTTP process its confinement, and both come back."""

import collections.abc
import json
import pathlib
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from tests import small_packages
from tests.server import START_S, until

UNITS = ("cellblock-keeper.service", "cellblock.service")
SOURCE = pathlib.Path(__file__).parents[2] / "systemd"
TARGET = pathlib.Path("/etc/systemd/system")
pytestmark = pytest.mark.vm


def systemctl(*arguments: str) -> str:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=True).stdout


def healthy() -> bool:
    try:
        return bool(urllib.request.urlopen("http://127.0.0.1:8000/health").status == 200)
    except (OSError, urllib.error.URLError):
        return False


def execute(code: str) -> dict[str, object]:
    body = json.dumps({"language": "python", "code": code}).encode()
    request = urllib.request.Request("http://127.0.0.1:8000/execute", body, {"Content-Type": "application/json"})
    answer: dict[str, object] = json.load(urllib.request.urlopen(request))
    return answer


@pytest.fixture(scope="module")
def units() -> collections.abc.Iterator[None]:
    for unit in UNITS:
        shutil.copy(SOURCE / unit, TARGET / unit)
    pathlib.Path("/etc/cellblock").mkdir(exist_ok=True)
    pathlib.Path("/etc/cellblock/environment").write_text(
        'CELLBLOCK_LANGUAGES=["python", "typescript"]\nCELLBLOCK_SELF_TEST_S=3600\nCELLBLOCK_PARKED_MAX=1\nCELLBLOCK_START_S=120\n'
        "CELLBLOCK_HTTP_PROCESSES=2\n"
    )
    systemctl("daemon-reload")
    systemctl("start", *UNITS)
    until(healthy, START_S, "healthy under systemd")
    yield
    systemctl("stop", *UNITS)
    assert not list(pathlib.Path("/sys/fs/cgroup").rglob("cellblock-serve"))


def test_programs_run_under_the_units(units: None) -> None:
    """Node too, whose V8 writes code that it then runs: healthy means that its self-test passed."""
    assert execute("print(6 * 7)")["output"] == "42\n"


def test_a_problem_package_is_stored_under_the_units(units: None) -> None:
    """The process that reads it confines itself with system calls that the unit must allow."""
    url = "http://127.0.0.1:8000/problems/sum"
    files = {**small_packages.LEGACY, ".timelimit": "1\n"}
    headers = {"Content-Type": "application/zip"}
    request = urllib.request.Request(url, small_packages.zip_bytes(files), headers, method="PUT")
    assert urllib.request.urlopen(request).status == 201
    assert urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).status == 204


def test_several_http_processes_run_below_one_unit(units: None) -> None:
    """A supervisor and what it starts, none of them root."""
    group = pathlib.Path("/sys/fs/cgroup") / systemctl("show", "-P", "ControlGroup", UNITS[1]).strip().lstrip("/")
    pids = (group / "cgroup.procs").read_text().split()
    commands = [pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids]
    assert sum("daemon.supervisor" in command for command in commands) == 1
    assert sum("http" in command for command in commands) == 2  # the others are the lexers' processes
    assert all(pathlib.Path(f"/proc/{pid}").stat().st_uid != 0 for pid in pids)


def test_jails_are_below_the_keepers_delegated_group(units: None) -> None:
    (group,) = pathlib.Path("/sys/fs/cgroup").rglob("cellblock-serve")
    assert group.parent.name == "cellblock-keeper.service"
    assert {"cpu", "memory", "pids"} <= set((group / "cgroup.subtree_control").read_text().split())


def test_a_killed_keeper_comes_back_and_sweeps(units: None) -> None:
    before = systemctl("show", "-P", "MainPID", UNITS[0]).strip()
    systemctl("kill", f"--signal={signal.SIGKILL}", "--kill-whom=main", UNITS[0])
    until(lambda: systemctl("show", "-P", "MainPID", UNITS[0]).strip() not in (before, "0"), START_S)

    def answers() -> bool:
        try:
            return execute("print(1)")["output"] == "1\n"
        except (OSError, urllib.error.URLError):
            return False

    until(answers, START_S, "a program runs again")
