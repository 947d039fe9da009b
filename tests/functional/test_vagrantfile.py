"""The Vagrantfile is one that Vagrant understands. `./bootstrap test-slow` installs Vagrant where Debian has it."""

import os
import pathlib
import shutil
import subprocess

import pytest


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """No server is needed."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("vagrant") is None, reason="Debian has no package of vagrant here")
def test_vagrant_accepts_it_and_it_opens_no_port(tmp_path: pathlib.Path, repository: pathlib.Path) -> None:
    shutil.copy(repository / "Vagrantfile", tmp_path)
    environment = {**os.environ, "VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    command = ["vagrant", "validate", "--ignore-provider"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "forwarded_port" not in (repository / "Vagrantfile").read_text()
