"""The bare commands of `cellblock bench` run as on anybody's host, whatever the caller's environment is."""

import os
import pathlib

import pytest

from daemon.bench import bare
from daemon.toolchain import registry
from daemon.toolchain.schema import BenchProgram, Toolchain

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
HOME = pathlib.Path("/nonexistent")


def running(*commands: list[str]) -> Toolchain:
    """Python, but that its bare commands are others."""
    python = registry.read(SHIPPED / "python.toml")
    assert python.bench is not None
    return python.model_copy(update={"bench": python.bench.model_copy(update={"bare": list(commands)})})


@pytest.fixture(autouse=True)
def _caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "PYTHONPATH", "PYTHONUNBUFFERED", "RUSTFLAGS"):
        monkeypatch.setenv(name, "the caller's")


def test_a_bare_command_has_of_the_caller_path_and_home_alone() -> None:
    with bare.bare(running(["/usr/bin/env"]), HOME) as command:
        found = dict(line.split("=", 1) for line in command.run("").splitlines())
    ours = {"LANG": "C.UTF-8", "TZ": "UTC"}
    assert found == {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ours}


@pytest.mark.parametrize("is_seen", [False, True])
def test_so_has_one_that_is_run_many_times(is_seen: bool) -> None:
    quiet = running(["/bin/sh", "-c", 'test -z "$NODE_OPTIONS$PYTHONPATH$RUSTFLAGS" && echo right'])
    program = BenchProgram(name="right", code="", output="right\n")
    assert bare.bare_rate(quiet, HOME, program, 2, 0.01, is_seen=is_seen) > 0


def test_one_that_was_seen_is_not_compiled_again(tmp_path: pathlib.Path) -> None:
    compiling = ["/bin/sh", "-c", f"echo compiled >> {tmp_path}/log"]
    program = BenchProgram(name="right", code="", output="right x\n")
    bare.bare_rate(running(compiling, ["/bin/echo", "right"]), HOME, program, 2, 0.01, is_seen=True)
    assert (tmp_path / "log").read_text().splitlines() == ["compiled"] * 2
