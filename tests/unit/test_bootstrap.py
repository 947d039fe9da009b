"""What ./bootstrap takes and takes away: root's own rustup and nobody else's, one installation and no other."""

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


# A mount namespace of its own with copies of the folders that an installation changes: $1 is an empty folder.
HOST = """
mount -t tmpfs tmpfs "$1"; cp -a /etc "$1/etc"; mount --bind "$1/etc" /etc
for folder in /usr/local /var/lib /run; do mount -t tmpfs tmpfs $folder; done   # no systemd is seen without /run
units=/usr/local/lib/systemd/system usual=/var/lib/cellblock
mkdir -p /usr/local/bin $units /etc/cellblock $usual/{venv,state/problems} /var/lib/side/venvs /etc/nginx/sites-enabled
[ -z "$2" ] || echo "ExecStart=$2/venv/bin/cellblock http" > $units/cellblock.service
touch /etc/cellblock/tokens.toml $usual/state/problems/sum
ln -sfn site.conf /etc/nginx/sites-enabled/cellblock
CELLBLOCK_PREFIX=$3 "$4" uninstall --purge
for path in $units/cellblock.service /etc/cellblock $usual/state /etc/nginx/sites-enabled/cellblock; do
  if [ -e $path ] || [ -L $path ]; then basename $path; fi
done
[ ! -e /var/lib/side ] || echo side
"""
USUAL, SIDE = "/var/lib/cellblock", "/var/lib/side"


@pytest.mark.parametrize(
    ("service", "prefix", "left"),
    [
        (USUAL, SIDE, ["cellblock.service", "cellblock", "state", "cellblock"]),
        ("", SIDE, ["cellblock", "state", "cellblock"]),
        (SIDE, USUAL, ["cellblock.service", "cellblock", "state", "cellblock", "side"]),
        (SIDE, SIDE, []),
        (USUAL, USUAL, ["side"]),
    ],
)
def test_a_prefix_that_is_purged_takes_nothing_of_another_prefixs_service(
    tmp_path: pathlib.Path, service: str, prefix: str, left: list[str]
) -> None:
    """Settings, tokens, stored problems and the site are the service's. Without a service they are the usual prefix's."""
    command = ["unshare", "--mount", "bash", "-euc", HOST, "bash", tmp_path, service, prefix, BOOTSTRAP]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, left), done.stderr
    assert ("another prefix's installation" in done.stderr) == (service != prefix)
