"""What another user of the host takes first, or finds, is no obstacle and no secret."""

import os
import pathlib
import subprocess

from tests.server import COMMAND, Server

TAKEN = "nsjail.0.root nsjail.0.tmp"
WITH_OWN_TMP = """
mount -t tmpfs none /tmp && mount -t tmpfs none /dev/shm && mkdir -p /run/user && mount -t tmpfs none /run/user
for name in %s; do ln -s /nonexistent /run/user/$name; : > /tmp/$name; chmod 644 /tmp/$name; ln -s /etc/passwd /dev/shm/$name; done
before=$(ls /tmp /run/user)
"$@" && [ "$(ls /tmp /run/user)" = "$before" ]
"""


def test_nsjails_names_that_somebody_has_taken_first_do_not_matter_and_none_is_left() -> None:
    """Files and links of the names below /tmp, /dev/shm and /run/user that it makes directories of."""
    unshared = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_OWN_TMP % TAKEN, "sh"]
    code = pathlib.Path("/var/tmp", f"cellblock-test-{os.getpid()}.py")  # /tmp is hidden there
    code.write_text("print(6 * 7)")
    try:
        environment = {**os.environ, "CELLBLOCK_LANGUAGES": '["python"]'}
        done = subprocess.run(
            [*unshared, COMMAND, "run", code], env=environment, capture_output=True, text=True, check=False
        )
    finally:
        code.unlink()
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr


def test_the_keepers_mounts_are_its_own(cellblock: Server) -> None:
    """The host sees none of them, and what the host mounts the keeper sees: its propagation is that of a slave."""
    keeper = pathlib.Path(f"/proc/{cellblock.keeper.pid}/mountinfo").read_text().splitlines()
    assert [line for line in keeper if line.split()[4] == "/run/user" and " - tmpfs " in line]
    assert not [line for line in keeper if " shared:" in line]
    assert os.stat(f"/proc/{cellblock.keeper.pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino
