"""What ./bootstrap finds in homes: root's own rustup, and nobody else's."""

import os
import pathlib
import subprocess

import pytest

BOOTSTRAP = pathlib.Path(__file__).parents[2] / "bootstrap"
FIND = """
getent() { echo "root:x:0:0:root:$root_home:/bin/bash"; }
eval "$(sed -n '/^rustup_sysroot() {/,/^}/p' "$1")"
rustup_sysroot
"""


@pytest.mark.parametrize(("owner", "found"), [(0, "/a sysroot\n"), (65534, "")])
def test_root_runs_no_rustup_that_is_another_users(tmp_path: pathlib.Path, owner: int, found: str) -> None:
    """With the calling user's name as sudo(8) gives it; where root has none, Debian's rustc is taken."""
    for home in ("root", "user"):
        (tmp_path / home / ".cargo/bin").mkdir(parents=True)
    ran = tmp_path / "ran"
    rustup = tmp_path / "root/.cargo/bin/rustup"
    rustup.write_text("#!/bin/sh\necho '/a sysroot'\n")
    others = tmp_path / "user/.cargo/bin/rustup"
    others.write_text(f"#!/bin/sh\ntouch {ran}\necho /tmp\n")
    others.chmod(0o755)
    rustup.chmod(0o755)
    if owner != 0:
        rustup.unlink()
        rustup.symlink_to(others)
    other_user = {"root_home": str(tmp_path / "root"), "SUDO_USER": "nobody", "PATH": "/usr/bin:/bin"}
    os.chown(others, owner, owner)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", FIND, "bash", BOOTSTRAP],
        env=other_user,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == found
    assert not ran.exists()
