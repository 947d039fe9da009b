"""`cellblock doctor --attack` as an administrator meets it: here nothing is open, and what is made weak is found."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from daemon.attack import probe
from tests.server import COMMAND, IS_EMULATED, readable

pytestmark = pytest.mark.slow
CONFIGS = pathlib.Path(__file__).parents[2] / "jail_configs"
IN_TIME = {"P3", "T1", "T2", "T3"}  # a machine that is emulated is late


def attack(**environment: str) -> tuple[int, list[tuple[str, str, str]], str]:
    """Exit status; threat, state and what was tried of each row; all that was printed."""
    done = subprocess.run(
        [COMMAND, "doctor", "--attack"], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^([A-Z]\d+) +(\w+|not tried) {2,}(\S.*)$", done.stdout, re.M)
    return done.returncode, found, done.stdout + done.stderr


@pytest.mark.vm
def test_here_all_is_shut_or_known_and_accepted() -> None:
    status, found, text = attack(CELLBLOCK_TIMEOUT_S="60") if IS_EMULATED else attack()
    assert {(threat, tried) for threat, _, tried in found} >= {(one.threat, one.tried) for one in probe.load()}
    bad = {threat for threat, state, _ in found if state not in ("shut", "accepted")}
    assert bad <= (IN_TIME if IS_EMULATED else set()), text
    assert status == (1 if bad else 0)


def test_what_a_weaker_configuration_opens_is_told_with_its_remedy(tmp_path: pathlib.Path) -> None:
    """A filter that allows too much, a toolchain that mounts too much, and no share of the processors."""
    readable(tmp_path)
    configs, toolchains = tmp_path / "configs", tmp_path / "toolchains"
    shutil.copytree(CONFIGS, configs)
    policy = configs / "inner.toml"
    weaker = policy.read_text().replace("mask = 0x7E028000", "mask = 0x8000").replace('"getpid"', '"getpid", "unshare"')
    policy.write_text(weaker)
    shutil.copytree(CONFIGS.parent / "toolchains", toolchains)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "note").write_text("of the host")
    with (toolchains / "python.toml").open("a") as file:
        file.write(f'[[mounts]]\nsource = "{tmp_path}/home"\ntarget = "/home"\n')
    status, found, text = attack(
        CELLBLOCK_CONFIGS=str(configs), CELLBLOCK_TOOLCHAIN_FOLDERS=f'["{toolchains}"]', CELLBLOCK_CPU_SHARE_MS="0"
    )
    assert status == 1, text
    assert sorted((threat, state) for threat, state, _ in found if state not in ("shut", "accepted")) == [
        ("K1", "open"), ("K2", "open"), ("T6", "not tried"),
    ], text  # fmt: skip
    assert "clone with a new user namespace: answered" in text
    assert "remedy: In inner.toml neither unshare" in text
    assert "read /home: answered ['note']" in text
    assert "cpu_share_ms is 0" in text
