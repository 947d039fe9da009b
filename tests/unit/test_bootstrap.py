"""What ./bootstrap finds in homes: root's own rustup, and nobody else's."""

import pathlib
import shutil
import subprocess

import pytest

BOOTSTRAP = pathlib.Path(__file__).parents[2] / "bootstrap"
FIND = """
getent() { echo "$2:x:0:0::$homes/$2:/bin/bash"; }
eval "$(sed -n '/^rustup_sysroot() {/,/^}/p' "$1")"
rustup_sysroot
"""


@pytest.mark.parametrize(
    ("roots", "found"), [("its own", "/a sysroot\n"), ("none", ""), ("a link to another user's", "")]
)
def test_root_runs_no_rustup_that_is_another_users(tmp_path: pathlib.Path, roots: str, found: str) -> None:
    """Nor that of the caller of sudo(8). Where root has none, Debian's rustc is taken."""
    ran = tmp_path / "ran"
    for user, owner, says in (("root", 0, "echo '/a sysroot'"), ("nobody", 65534, f"touch {ran}")):
        rustup = tmp_path / user / ".cargo/bin/rustup"
        rustup.parent.mkdir(parents=True)
        if user == "root" and roots != "its own":
            if roots != "none":
                rustup.symlink_to(tmp_path / "nobody/.cargo/bin/rustup")
            continue
        rustup.write_text(f"#!/bin/sh\n{says}\n")
        rustup.chmod(0o755)
        shutil.chown(rustup, owner, owner)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", FIND, "bash", BOOTSTRAP], capture_output=True, text=True, check=True,
        env={"homes": str(tmp_path), "SUDO_USER": "nobody", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout == found
    assert not ran.exists()
